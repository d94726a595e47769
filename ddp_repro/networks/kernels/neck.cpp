// A map added to a larger one, resized as it goes: a resized map of its own would take longer to write than this.  See
// neck.py.

#include <cstdint>
#include <vector>

#include "axis.h"
#include "vector_math.h"

namespace {

// Plane by plane: result (planes, height, width), other (planes, from_height, from_width).
template <typename Stored>
void add_planes(Stored* result, const Stored* other, int64_t planes, const Axis& y, const Axis& x, int64_t from_height,
                int64_t from_width, int threads) {
    const int64_t height = int64_t(y.low.size()), width = int64_t(x.low.size());
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t plane = 0; plane < planes; ++plane) {
        std::vector<float> between(from_width);
        const Stored* from = other + plane * from_height * from_width;
        for (int64_t row = 0; row < height; ++row) {
            const Stored *low = from + y.low[row] * from_width, *high = from + y.high[row] * from_width;
            const float share = y.share[row], rest = 1 - share;
            for (int64_t i = 0; i < from_width; ++i) between[i] = rest * float(low[i]) + share * float(high[i]);
            Stored* line = result + (plane * height + row) * width;
            for (int64_t i = 0; i < width; ++i)
                line[i] = float(line[i]) + (1 - x.share[i]) * between[x.low[i]] + x.share[i] * between[x.high[i]];
        }
    }
}

// Pixel by pixel: result (images, height, width, channels), other (images, from_height, from_width, channels).
template <typename Stored>
void add_pixels(Stored* result, const Stored* other, int64_t images, int64_t channels, const Axis& y, const Axis& x,
                int64_t from_height, int64_t from_width, int threads) {
    const int64_t height = int64_t(y.low.size()), width = int64_t(x.low.size());
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t line = 0; line < images * height; ++line) {
        const int64_t row = line % height;
        const Stored* from = other + (line / height) * from_height * from_width * channels;
        const Stored *low = from + y.low[row] * from_width * channels, *high = from + y.high[row] * from_width * channels;
        for (int64_t i = 0; i < width; ++i) {
            const float below = y.share[row], right = x.share[i];
            const float w0 = (1 - below) * (1 - right), w1 = (1 - below) * right, w2 = below * (1 - right), w3 = below * right;
            const Stored *a = low + x.low[i] * channels, *b = low + x.high[i] * channels;
            const Stored *c = high + x.low[i] * channels, *d = high + x.high[i] * channels;
            Stored* __restrict place = result + (line * width + i) * channels;
            for (int64_t k = 0; k < channels; ++k)
                place[k] = float(place[k]) + (w0 * float(a[k]) + w1 * float(b[k]) + w2 * float(c[k]) + w3 * float(d[k]));
        }
    }
}

// sizes: images, channels, height, width, and height and width of the other.
template <typename Stored>
void add_resized(Stored* result, const Stored* other, const int64_t* sizes, bool nearest, bool by_pixel, int threads) {
    const int64_t images = sizes[0], channels = sizes[1];
    const Axis y(sizes[4], sizes[2], nearest), x(sizes[5], sizes[3], nearest);
    if (by_pixel)
        add_pixels(result, other, images, channels, y, x, sizes[4], sizes[5], threads);
    else
        add_planes(result, other, images * channels, y, x, sizes[4], sizes[5], threads);
}

}  // namespace

extern "C" void add_resized_float32(float* result, const float* other, const int64_t* sizes, bool nearest, bool by_pixel,
                                    int threads) {
    add_resized(result, other, sizes, nearest, by_pixel, threads);
}

extern "C" void add_resized_bfloat16(Bfloat16* result, const Bfloat16* other, const int64_t* sizes, bool nearest,
                                     bool by_pixel, int threads) {
    add_resized(result, other, sizes, nearest, by_pixel, threads);
}
