// What stands between a decoder's or a Swin block's matrix products on a CPU, each in one pass over its rows; see
// layers.py.  All arrays are contiguous and row-major.

#include <cmath>
#include <cstdint>

#include "vector_math.h"

namespace {

// x Φ(x) with the normal distribution function Φ.  Φ(x) - 1/2 is odd; divided by x it is a quotient of polynomials of
// x², fitted by weighted least squares to |x| <= 5.6, where its error is 1e-8; beyond, Φ is 0 or 1.
inline float gelu(float x) {
    const float edge = 5.6f, limited = x > edge ? edge : (x < -edge ? -edge : x), u = limited * limited;
    const float above = ((((2.2145250966e-8f * u + 6.3563934418e-6f) * u + 1.7384368403e-4f) * u + 4.7072172165e-3f) * u +
                         3.4375514835e-2f) * u + 3.9894223213e-1f;
    const float below = ((((1.1801996607e-6f * u + 7.5099167589e-5f) * u + 1.9129395951e-3f) * u + 2.8939733282e-2f) * u +
                         2.5283253112e-1f) * u + 1.0f;
    return x < -edge ? 0 : x * (0.5f + limited * above / below);
}

// hidden = gelu(hidden + bias), in place
template <typename Stored>
void bias_gelu(Stored* hidden, const float* bias, int64_t rows, int64_t channels, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t row = 0; row < rows; ++row) {
        Stored* __restrict line = hidden + row * channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; ++c) line[c] = gelu(float(line[c]) + bias[c]);
    }
}

// product += bias + residual; output = gain (product - mean) / deviation + shift.  The output may be the product itself.
template <typename Stored>
void add_norm(Stored* product, const float* bias, const Stored* residual, const float* gain, const float* shift,
              Stored* output, int64_t rows, int64_t channels, float epsilon, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t row = 0; row < rows; ++row) {
        Stored* sum = product + row * channels;
        Stored* line = output + row * channels;
        const Stored* other = residual + row * channels;
        float total = 0, squares = 0;
#pragma omp simd reduction(+ : total)
        for (int64_t c = 0; c < channels; ++c) {
            sum[c] = float(sum[c]) + (bias[c] + float(other[c]));
            total += float(sum[c]);
        }
        const float mean = total / float(channels);
#pragma omp simd reduction(+ : squares)
        for (int64_t c = 0; c < channels; ++c) squares += (float(sum[c]) - mean) * (float(sum[c]) - mean);
        const float rate = 1 / std::sqrt(squares / float(channels) + epsilon);
#pragma omp simd
        for (int64_t c = 0; c < channels; ++c) line[c] = (float(sum[c]) - mean) * rate * gain[c] + shift[c];
    }
}

}  // namespace

#define EXPORT(NAME, STORED)                                                                                         \
    extern "C" void bias_gelu_##NAME(STORED* hidden, const float* bias, int64_t rows, int64_t channels,              \
                                     int threads) {                                                                  \
        bias_gelu(hidden, bias, rows, channels, threads);                                                            \
    }                                                                                                                \
    extern "C" void add_norm_##NAME(STORED* product, const float* bias, const STORED* residual, const float* gain,   \
                                    const float* shift, STORED* output, int64_t rows, int64_t channels,              \
                                    float epsilon, int threads) {                                                    \
        add_norm(product, bias, residual, gain, shift, output, rows, channels, epsilon, threads);                    \
    }

EXPORT(float32, float)
EXPORT(bfloat16, Bfloat16)
