// What is read off class scores at a picture's size, without ever holding them there: the best class of every pixel,
// and the cross-entropy with its gradient; see resize.py.
//
// Scores lie pixel by pixel, (height, width, classes).  Resizing is bilinear, corners not aligned, as PyTorch's.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "axis.h"
#include "vector_math.h"

namespace {

inline void mix(const float* __restrict a, const float* __restrict b, float share, float* __restrict output,
                int64_t count) {
    const float rest = 1 - share;
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) output[i] = rest * a[i] + share * b[i];
}

// Rows of a resized map, the last two of them kept: neighbours are asked for one after the other.
class Rows {
  public:
    Rows(const float* scores, int64_t width, int64_t classes, const Axis& y, const Axis& x)
        : scores(scores), line(width * classes), classes(classes), y(y), x(x), narrow(line) {
        for (auto& row : kept) row.resize(x.low.size() * classes);
    }

    const float* operator[](int64_t row) {
        const int64_t slot = row % 2;
        if (have[slot] != row) {
            mix(scores + y.low[row] * line, scores + y.high[row] * line, y.share[row], narrow.data(), line);
            for (size_t i = 0; i < x.low.size(); ++i)
                mix(&narrow[x.low[i] * classes], &narrow[x.high[i] * classes], x.share[i], &kept[slot][i * classes],
                    classes);
            have[slot] = row;
        }
        return kept[slot].data();
    }

  private:
    const float* scores;
    const int64_t line, classes;
    const Axis &y, &x;
    std::vector<float> narrow, kept[2];
    int64_t have[2] = {-1, -1};
};

inline float highest_of(const float* values, int64_t count) {
    float highest = values[0];
#pragma omp simd reduction(max : highest)
    for (int64_t k = 0; k < count; ++k) highest = std::max(highest, values[k]);
    return highest;
}

inline int64_t first_at(const float* values, float wanted, int64_t count) {
    int32_t first = int32_t(count);
#pragma omp simd reduction(min : first)
    for (int32_t k = 0; k < int32_t(count); ++k) first = std::min(first, values[k] == wanted ? k : int32_t(count));
    return first;
}

void best_of_row(const float* above, const float* below, float share, const Axis& x, int64_t width, int64_t classes,
                 float* row, float* values, float* best, int64_t* index) {
    mix(above, below, share, row, width * classes);
    for (size_t i = 0; i < x.low.size(); ++i) {
        mix(row + x.low[i] * classes, row + x.high[i] * classes, x.share[i], values, classes);
        best[i] = highest_of(values, classes);
        index[i] = std::min(first_at(values, best[i], classes), classes - 1);
    }
}

// One row of pixels: adds to the gradient of the row of scores between two others, and returns the sum of the losses.
double losses_of_row(const float* row, const int64_t* label, int64_t ignored, const Axis& x, int64_t classes,
                     float* values, float* gradient) {
    double loss = 0;
    for (size_t i = 0; i < x.low.size(); ++i) {
        if (label[i] == ignored) continue;
        mix(row + x.low[i] * classes, row + x.high[i] * classes, x.share[i], values, classes);
        const float highest = highest_of(values, classes), truth = values[label[i]];
        float total = 0;
#pragma omp simd reduction(+ : total)
        for (int64_t k = 0; k < classes; ++k) total += values[k] = exponential(values[k] - highest);
        loss += double(highest - truth) + std::log(double(total));
        float* __restrict left = gradient + x.low[i] * classes;
        float* __restrict right = gradient + x.high[i] * classes;
        const float by_left = (1 - x.share[i]) / total, by_right = x.share[i] / total;
#pragma omp simd
        for (int64_t k = 0; k < classes; ++k) left[k] += by_left * values[k];
#pragma omp simd
        for (int64_t k = 0; k < classes; ++k) right[k] += by_right * values[k];
        left[label[i]] -= 1 - x.share[i];
        right[label[i]] -= x.share[i];
    }
    return loss;
}

inline void add(const float* from, float share, float* to, int64_t count) {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) to[i] += share * from[i];
}

}  // namespace

// sizes: height, width, classes; then those of the network's input and of the picture.
extern "C" void best_class(const float* scores, const int64_t* sizes, float* best, int64_t* index, int threads) {
    const int64_t height = sizes[0], width = sizes[1], classes = sizes[2];
    const bool direct = sizes[3] == sizes[5] && sizes[4] == sizes[6];
    const Axis first_y(height, sizes[3]), first_x(width, sizes[4]);
    const Axis y(direct ? height : sizes[3], sizes[5]), x(direct ? width : sizes[4], sizes[6]);
    const int64_t columns = direct ? width : sizes[4];
#pragma omp parallel num_threads(threads)
    {
        Rows rows(scores, width, classes, first_y, first_x);
        std::vector<float> row(columns * classes), values(classes);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < sizes[5]; ++i) {
            const float* above = direct ? scores + y.low[i] * width * classes : rows[y.low[i]];
            const float* below = direct ? scores + y.high[i] * width * classes : rows[y.high[i]];
            best_of_row(above, below, y.share[i], x, columns, classes, row.data(), values.data(), best + i * sizes[6],
                        index + i * sizes[6]);
        }
    }
}

// sizes: height, width, classes; then those of the labels.  The gradient must be zero; returns the sum of the losses.
// Bands of rows share no row of the gradient but their last, which each keeps to itself until the end.
extern "C" double cross_entropy(const float* scores, const int64_t* labels, int64_t ignored, const int64_t* sizes,
                                float* gradient, int threads) {
    const int64_t height = sizes[0], width = sizes[1], classes = sizes[2], line = width * classes;
    const Axis y(height, sizes[3]), x(width, sizes[4]);
    const int64_t bands = std::min<int64_t>(threads, height);
    std::vector<std::vector<float>> spills(bands, std::vector<float>(line));
    double loss = 0;
#pragma omp parallel for num_threads(threads) schedule(static, 1) reduction(+ : loss)
    for (int64_t band = 0; band < bands; ++band) {
        const int64_t start = height * band / bands, end = height * (band + 1) / bands;
        std::vector<float> row(line), of_row(line), values(classes);
        for (int64_t i = 0; i < sizes[3]; ++i) {
            if (y.low[i] < start || y.low[i] >= end) continue;
            mix(scores + y.low[i] * line, scores + y.high[i] * line, y.share[i], row.data(), line);
            std::fill(of_row.begin(), of_row.end(), 0.f);
            loss += losses_of_row(row.data(), labels + i * sizes[4], ignored, x, classes, values.data(), of_row.data());
            float* below = y.high[i] < end ? gradient + y.high[i] * line : spills[band].data();
            add(of_row.data(), 1 - y.share[i], gradient + y.low[i] * line, line);
            add(of_row.data(), y.share[i], below, line);
        }
    }
    for (int64_t band = 0; band + 1 < bands; ++band)
        add(spills[band].data(), 1, gradient + height * (band + 1) / bands * line, line);
    return loss;
}
