namespace rows {
constexpr int TILE = 64;
}
namespace columns {
constexpr int TILE = 128;
}
