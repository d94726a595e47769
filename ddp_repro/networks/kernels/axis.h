// Where the places of one axis lie along another, as PyTorch resizes.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

// Each of ``to`` places lies between two of ``from``, with a share of the second: corners not aligned.  Of the nearest
// alone, the two are one.
struct Axis {
    std::vector<int64_t> low, high;
    std::vector<float> share;

    Axis(int64_t from, int64_t to, bool nearest = false) : low(to), high(to), share(to) {
        const float scale = float(from) / float(to);
        for (int64_t i = 0; i < to; ++i) {
            const float place = nearest ? std::floor(float(i) * scale) : std::max(scale * (float(i) + 0.5f) - 0.5f, 0.f);
            low[i] = std::min(int64_t(place), from - 1);
            high[i] = nearest ? low[i] : std::min(low[i] + 1, from - 1);
            share[i] = nearest ? 0 : place - float(low[i]);
        }
    }
};
