// Attention within the windows of one Swin block, over tokens that stay in the order of the map; see swin.py.

#include <algorithm>
#include <cstdint>

#include "vector_math.h"

namespace {

constexpr int64_t WIDTH = 32;    // of a head: that of every Swin
constexpr int64_t TOKENS = 144;  // at most, in a window: 12 × 12
constexpr float BLOCKED = -100;  // between regions that only the cyclic shift made neighbours

struct Map {
    int64_t height, width, window, shift, heads;
};

// A place of the shifted, padded map: which of three regions along an axis, and which pixel (-1: padding).
inline int64_t region(int64_t place, int64_t size, const Map& m) {
    return m.shift == 0 || place < size - m.window ? 0 : (place < size - m.shift ? 1 : 2);
}

inline int64_t source(int64_t place, int64_t size, int64_t length, const Map& m) {
    const int64_t pixel = (place + m.shift) % size;
    return pixel < length ? pixel : -1;
}

template <typename Stored>
void attend_window(const Stored* qkv, const Stored* padding, const float* bias, Stored* output, int64_t top,
                   int64_t left, int64_t rows, int64_t columns, const Map& m) {
    const int64_t n = m.window * m.window, channels = m.heads * WIDTH;
    int64_t token[TOKENS], area[TOKENS];
    for (int64_t i = 0; i < n; ++i) {
        const int64_t y = top + i / m.window, x = left + i % m.window;
        const int64_t row = source(y, rows, m.height, m), column = source(x, columns, m.width, m);
        token[i] = row < 0 || column < 0 ? -1 : row * m.width + column;
        area[i] = 3 * region(y, rows, m) + region(x, columns, m);
    }
    const bool mixed = std::any_of(area, area + n, [&](int64_t each) { return each != area[0]; });
    const float scale = 1 / std::sqrt(float(WIDTH));
    alignas(64) float keys[WIDTH][TOKENS], values[TOKENS][WIDTH], score[TOKENS];
    for (int64_t head = 0; head < m.heads; ++head) {
        for (int64_t j = 0; j < n; ++j) {
            const Stored* from = (token[j] < 0 ? padding : qkv + token[j] * 3 * channels) + head * WIDTH;
            for (int64_t c = 0; c < WIDTH; ++c) keys[c][j] = from[channels + c], values[j][c] = from[2 * channels + c];
        }
        for (int64_t i = 0; i < n; ++i) {
            if (token[i] < 0) continue;
            const Stored* query = qkv + token[i] * 3 * channels + head * WIDTH;
            const float* near = bias + (head * n + i) * n;
            for (int64_t j = 0; j < n; ++j) score[j] = near[j];
            for (int64_t c = 0; c < WIDTH; c += 4) {
                const float a = float(query[c]) * scale, b = float(query[c + 1]) * scale;
                const float d = float(query[c + 2]) * scale, e = float(query[c + 3]) * scale;
#pragma omp simd
                for (int64_t j = 0; j < n; ++j)
                    score[j] += (a * keys[c][j] + b * keys[c + 1][j]) + (d * keys[c + 2][j] + e * keys[c + 3][j]);
            }
            if (mixed)
                for (int64_t j = 0; j < n; ++j) score[j] += area[j] == area[i] ? 0 : BLOCKED;
            float highest = score[0], total = 0;
#pragma omp simd reduction(max : highest)
            for (int64_t j = 0; j < n; ++j) highest = std::max(highest, score[j]);
#pragma omp simd reduction(+ : total)
            for (int64_t j = 0; j < n; ++j) total += score[j] = exponential(score[j] - highest);
            float sum[WIDTH] = {};
            for (int64_t j = 0; j < n; ++j)
                for (int64_t c = 0; c < WIDTH; ++c) sum[c] += score[j] * values[j][c];
            Stored* to = output + token[i] * channels + head * WIDTH;
            for (int64_t c = 0; c < WIDTH; ++c) to[c] = sum[c] / total;
        }
    }
}

// qkv (height·width, 3, heads, 32); padding (3, heads, 32), what stands beyond the map; bias (heads, n, n) of the n places
// of a window; output (height·width, heads, 32).
template <typename Stored>
void attend_windows(const Stored* qkv, const Stored* padding, const float* bias, Stored* output, const Map& m,
                    int threads) {
    const int64_t down = (m.height + m.window - 1) / m.window, across = (m.width + m.window - 1) / m.window;
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
    for (int64_t y = 0; y < down; ++y)
        for (int64_t x = 0; x < across; ++x)
            attend_window(qkv, padding, bias, output, y * m.window, x * m.window, down * m.window, across * m.window, m);
}

}  // namespace

#define EXPORT(NAME, STORED)                                                                                         \
    extern "C" void attend_windows_##NAME(const STORED* qkv, const STORED* padding, const float* bias,               \
                                          STORED* output, int64_t height, int64_t width, int64_t window,             \
                                          int64_t shift, int64_t heads, int threads) {                               \
        attend_windows(qkv, padding, bias, output, Map{height, width, window, shift, heads}, threads);               \
    }

EXPORT(float32, float)
EXPORT(bfloat16, Bfloat16)
