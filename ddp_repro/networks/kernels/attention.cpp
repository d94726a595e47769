// Deformable attention over one level of a map on a CPU, forward and backward; see attention.py.
//
// Layouts, all contiguous: value (batch, height·width, heads, channels); locations (batch, 2, heads, points, queries);
// weights (batch, heads, points, queries); output (batch, queries, heads, channels).

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "vector_math.h"

namespace {

struct Sizes {
    int64_t batch, heads, points, queries, height, width, channels;
};

constexpr int64_t GROUP = 64;  // queries whose corners are worked out together, in vector registers

// The four pixels around each of a group's locations, with the share that each has in the bilinear reading, and the
// derivatives of the shares by x and y.  Outside the map, the pixel is some other one and the share zero.
template <typename Real>
struct Corners {
    int32_t pixel[4][GROUP];
    Real share[4][GROUP], slope_x[4][GROUP], slope_y[4][GROUP];

    Corners(const Real* x, const Real* y, int64_t count, const Sizes& s) {
        const Real width = Real(s.width), height = Real(s.height);
#pragma omp simd
        for (int64_t i = 0; i < count; ++i) {
            // false also where a coordinate is not a number
            const Real near = x[i] > -1 && y[i] > -1 && x[i] < width && y[i] < height ? Real(1) : Real(0);
            const Real px = near ? x[i] : Real(0), py = near ? y[i] : Real(0);
            const Real left = std::floor(px), top = std::floor(py), right = left + 1, bottom = top + 1;
            const Real has_left = left >= 0 ? near : Real(0), has_right = right < width ? near : Real(0);
            const Real has_top = top >= 0 ? Real(1) : Real(0), has_bottom = bottom < height ? Real(1) : Real(0);
            const Real at_left = (right - px) * has_left, at_right = (px - left) * has_right;
            const Real at_top = (bottom - py) * has_top, at_bottom = (py - top) * has_bottom;
            const int32_t column[2] = {int32_t(left * has_left), int32_t(right * has_right)};
            const int32_t row[2] = {int32_t(top * has_top), int32_t(bottom * has_bottom)};
            const int32_t stride = int32_t(s.width);
            pixel[0][i] = row[0] * stride + column[0], pixel[1][i] = row[0] * stride + column[1];
            pixel[2][i] = row[1] * stride + column[0], pixel[3][i] = row[1] * stride + column[1];
            share[0][i] = at_left * at_top, share[1][i] = at_right * at_top;
            share[2][i] = at_left * at_bottom, share[3][i] = at_right * at_bottom;
            slope_x[0][i] = -has_left * at_top, slope_x[1][i] = has_right * at_top;
            slope_x[2][i] = -has_left * at_bottom, slope_x[3][i] = has_right * at_bottom;
            slope_y[0][i] = -at_left * has_top, slope_y[1][i] = -at_right * has_top;
            slope_y[2][i] = at_left * has_bottom, slope_y[3][i] = at_right * has_bottom;
        }
    }
};

// Width of a head: known to the compiler where it is that of the paper's decoder.
template <int Fixed>
inline int64_t width_of(const Sizes& s) {
    return Fixed ? Fixed : s.channels;
}

// What one head reads for a group of queries: over points, the weighted mean of the value around each location.
// x, y and weight hold a line of queries per point, ``line`` numbers apart; sums hold a line of channels per query, ``apart``
// numbers apart.
template <typename Real, int Fixed, typename Stored>
void read_group(const Stored* own, const Real* x, const Real* y, const Real* weight, int64_t line, int64_t count,
                Real* sums, int64_t apart, const Sizes& s) {
    const int64_t channels = width_of<Fixed>(s), stride = s.heads * channels;
    for (int64_t point = 0; point < s.points; ++point) {
        const Corners<Real> at(x + point * line, y + point * line, count, s);
        const Real* share = weight + point * line;
        for (int64_t i = 0; i < count; ++i) {
            const Stored* __restrict p0 = own + at.pixel[0][i] * stride;
            const Stored* __restrict p1 = own + at.pixel[1][i] * stride;
            const Stored* __restrict p2 = own + at.pixel[2][i] * stride;
            const Stored* __restrict p3 = own + at.pixel[3][i] * stride;
            const Real w0 = at.share[0][i] * share[i], w1 = at.share[1][i] * share[i];
            const Real w2 = at.share[2][i] * share[i], w3 = at.share[3][i] * share[i];
            Real* __restrict sum = sums + i * apart;
            const auto read = [&](int64_t c) {
                return w0 * Real(p0[c]) + w1 * Real(p1[c]) + w2 * Real(p2[c]) + w3 * Real(p3[c]);
            };
            if (point == 0)
                for (int64_t c = 0; c < channels; ++c) sum[c] = read(c);
            else
                for (int64_t c = 0; c < channels; ++c) sum[c] += read(c);
        }
    }
}

template <typename Real, int Fixed>
void forward(const Real* value, const Real* locations, const Real* weights, Real* output, const Sizes s, int threads) {
    const int64_t channels = width_of<Fixed>(s), stride = s.heads * channels, plane = s.points * s.queries;
    const int64_t groups = (s.queries + GROUP - 1) / GROUP;
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
    for (int64_t b = 0; b < s.batch; ++b)
        for (int64_t group = 0; group < groups; ++group) {
            const int64_t start = group * GROUP, count = std::min(GROUP, s.queries - start);
            for (int64_t head = 0; head < s.heads; ++head) {
                const Real* own = value + (b * s.height * s.width * s.heads + head) * channels;
                const Real* x = locations + (b * 2 * s.heads + head) * plane + start;
                const Real* weight = weights + (b * s.heads + head) * plane + start;
                Real* sums = output + (b * s.queries + start) * stride + head * channels;
                read_group<Real, Fixed>(own, x, x + s.heads * plane, weight, s.queries, count, sums, stride, s);
            }
        }
}

constexpr int64_t POINTS = 16;  // at most, in forward_rows
constexpr int64_t WIDEST = 64;  // channels of a head at most, in forward_rows of what is stored as bf16

// Some rows of one image's map, with what leads to locations and weights: query is (3, heads, points, rows, width) with
// x, y and logit first, to which a number per row (3, heads, points, rows) and one per column (3, heads, points, width)
// are added; the weights are the softmax of the logits over points.
template <typename Real, int Fixed, typename Stored>
void forward_rows(const Stored* value, const Stored* query, const Real* of_rows, const Real* of_columns,
                  int64_t row_stride, Stored* output, const Sizes s, int threads) {
    constexpr bool same = std::is_same<Real, Stored>::value;
    const int64_t channels = width_of<Fixed>(s), stride = s.heads * channels, places = s.heads * s.points;
    const int64_t rows = s.queries / s.width, groups = (s.width + GROUP - 1) / GROUP;
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
    for (int64_t row = 0; row < rows; ++row)
        for (int64_t group = 0; group < groups; ++group) {
            const int64_t start = group * GROUP, count = std::min(GROUP, s.width - start);
            Real planes[3][POINTS][GROUP], total[GROUP], highest[GROUP];
            for (int64_t head = 0; head < s.heads; ++head) {
                for (int64_t kind = 0; kind < 3; ++kind)
                    for (int64_t point = 0; point < s.points; ++point) {
                        const int64_t place = kind * places + head * s.points + point;
                        const Stored* own = query + place * s.queries + row * s.width + start;
                        const Real* column = of_columns + place * s.width + start;
                        const Real of_row = of_rows[place * row_stride + row];
                        for (int64_t i = 0; i < count; ++i) planes[kind][point][i] = Real(own[i]) + (of_row + column[i]);
                    }
                for (int64_t i = 0; i < count; ++i) highest[i] = planes[2][0][i], total[i] = 0;
                for (int64_t point = 1; point < s.points; ++point)
                    for (int64_t i = 0; i < count; ++i) highest[i] = std::max(highest[i], planes[2][point][i]);
                for (int64_t point = 0; point < s.points; ++point)
                    for (int64_t i = 0; i < count; ++i)
                        total[i] += planes[2][point][i] = exponential(planes[2][point][i] - highest[i]);
                for (int64_t point = 0; point < s.points; ++point)
                    for (int64_t i = 0; i < count; ++i) planes[2][point][i] /= total[i];
                Stored* place = output + (row * s.width + start) * stride + head * channels;
                const auto read = [&](Real* sums, int64_t apart) {
                    read_group<Real, Fixed>(value + head * channels, planes[0][0], planes[1][0], planes[2][0], GROUP,
                                            count, sums, apart, s);
                };
                if constexpr (same) {
                    read(place, stride);
                } else {
                    Real sums[GROUP * WIDEST];
                    read(sums, channels);
                    for (int64_t i = 0; i < count; ++i)
                        for (int64_t c = 0; c < channels; ++c) place[i * stride + c] = sums[i * channels + c];
                }
            }
        }
}

// Heads share no channel, so each thread takes some of them and never meets another.
template <typename Real, int Fixed>
void backward(const Real* value, const Real* locations, const Real* weights, const Real* gradient, Real* of_value,
              Real* of_locations, Real* of_weights, const Sizes s, int threads) {
    const int64_t channels = width_of<Fixed>(s), stride = s.heads * channels, plane = s.points * s.queries;
#pragma omp parallel for collapse(2) num_threads(threads) schedule(dynamic)
    for (int64_t b = 0; b < s.batch; ++b)
        for (int64_t head = 0; head < s.heads; ++head) {
            const int64_t own = (b * s.height * s.width * s.heads + head) * channels;
            for (int64_t start = 0; start < s.queries; start += GROUP)
                for (int64_t point = 0; point < s.points; ++point) {
                    const int64_t count = std::min(GROUP, s.queries - start), first = point * s.queries + start;
                    const int64_t x = (b * 2 * s.heads + head) * plane + first, y = x + s.heads * plane;
                    const int64_t weight = (b * s.heads + head) * plane + first;
                    const Corners<Real> at(locations + x, locations + y, count, s);
                    for (int64_t i = 0; i < count; ++i) {
                        const Real* __restrict outer = gradient + (b * s.queries + start + i) * stride + head * channels;
                        Real by_weight = 0, by_x = 0, by_y = 0;
                        for (int k = 0; k < 4; ++k) {
                            const Real* __restrict pixel = value + own + at.pixel[k][i] * stride;
                            Real* __restrict of_pixel = of_value + own + at.pixel[k][i] * stride;
                            const Real share = at.share[k][i] * weights[weight + i];
                            Real product = 0;
#pragma omp simd reduction(+ : product)
                            for (int64_t c = 0; c < channels; ++c) product += outer[c] * pixel[c];
                            for (int64_t c = 0; c < channels; ++c) of_pixel[c] += share * outer[c];
                            by_weight += at.share[k][i] * product;
                            by_x += at.slope_x[k][i] * product;
                            by_y += at.slope_y[k][i] * product;
                        }
                        of_weights[weight + i] = by_weight;
                        of_locations[x + i] = by_x * weights[weight + i];
                        of_locations[y + i] = by_y * weights[weight + i];
                    }
                }
        }
}

}  // namespace

#define EXPORT(NAME, REAL)                                                                                            \
    extern "C" void forward_##NAME(const REAL* value, const REAL* locations, const REAL* weights, REAL* output,       \
                                   const Sizes* s, int threads) {                                                     \
        (s->channels == 32 ? forward<REAL, 32> : forward<REAL, 0>)(value, locations, weights, output, *s, threads);   \
    }                                                                                                                 \
    extern "C" void backward_##NAME(const REAL* value, const REAL* locations, const REAL* weights,                    \
                                    const REAL* gradient, REAL* of_value, REAL* of_locations, REAL* of_weights,       \
                                    const Sizes* s, int threads) {                                                    \
        (s->channels == 32 ? backward<REAL, 32> : backward<REAL, 0>)(value, locations, weights, gradient, of_value,   \
                                                                     of_locations, of_weights, *s, threads);          \
    }

#define EXPORT_ROWS(NAME, REAL, STORED)                                                                               \
    extern "C" void forward_rows_##NAME(const STORED* value, const STORED* query, const REAL* of_rows,                \
                                        const REAL* of_columns, int64_t row_stride, STORED* output, const Sizes* s,   \
                                        int threads) {                                                                \
        (s->channels == 32 ? forward_rows<REAL, 32, STORED> : forward_rows<REAL, 0, STORED>)(                         \
            value, query, of_rows, of_columns, row_stride, output, *s, threads);                                      \
    }

EXPORT(float32, float)
EXPORT(float64, double)
EXPORT_ROWS(float32, float, float)
EXPORT_ROWS(float64, double, double)
EXPORT_ROWS(bfloat16, float, Bfloat16)
