// What the compiled files share.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

// A number as bf16: the upper half of a float's bits, rounded to the nearest, ties to even.  Arithmetic is in float.
struct Bfloat16 {
    uint16_t bits;

    operator float() const {
        const uint32_t wide = uint32_t(bits) << 16;
        float x;
        std::memcpy(&x, &wide, sizeof x);
        return x;
    }

    Bfloat16& operator=(float x) {
        uint32_t wide;
        std::memcpy(&wide, &x, sizeof wide);
        bits = x == x ? uint16_t((wide + 0x7fff + ((wide >> 16) & 1)) >> 16) : uint16_t(0x7fc0);
        return *this;
    }
};

inline double exponential(double x) { return std::exp(x); }

// e^x for -87 <= x <= 0, zero below, in vector registers: 2^n times the series of the rest, to float's precision
inline float exponential(float x) {
    const float n = std::floor(x * 1.44269504f + 0.5f), rest = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    const float series =
        (((((1.f / 720 * rest + 1.f / 120) * rest + 1.f / 24) * rest + 1.f / 6) * rest + 0.5f) * rest + 1.f) * rest +
        1.f;
    const int32_t bits = (int32_t(n < -126 ? -126.f : n) + 127) << 23;
    float power;
    std::memcpy(&power, &bits, sizeof power);
    return x < -87 ? 0.f : series * power;
}
