struct Base {
    int a;
};
struct Derived : Base {
    int b;
};
