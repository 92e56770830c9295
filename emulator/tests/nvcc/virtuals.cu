// Virtual functions: tables of function addresses in global memory, and calls through pointers found in objects.

struct Shape {
    __device__ virtual float area() const = 0;
    __device__ virtual int corners() const { return 0; }
};
struct Circle : Shape {
    float radius;
    __device__ Circle(float radius) : radius(radius) {}
    __device__ float area() const override { return 3.0f * radius * radius; }
};
struct Rectangle : Shape {
    float width, height;
    __device__ Rectangle(float width, float height) : width(width), height(height) {}
    __device__ float area() const override { return width * height; }
    __device__ int corners() const override { return 4; }
};
struct Square : Rectangle {
    __device__ Square(float side) : Rectangle(side, side) {}
    __device__ int corners() const override { return 40 + Rectangle::corners(); }
};

__device__ __noinline__ float describe(const Shape& shape) { return shape.area() + 1000.0f * shape.corners(); }

extern "C" __global__ void virtuals(float* out) {
    unsigned lane = threadIdx.x;
    Circle circle(lane);
    Rectangle rectangle(lane, 2.0f);
    Square square(lane);
    const Shape* shapes[3] = {&circle, &rectangle, &square};
    out[lane] = describe(*shapes[lane % 3]);
}
