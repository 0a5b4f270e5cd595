// Depthwise convolutions and 3x3 pools of batch-last maps [channels, height, width, batch].
//
// Vectors run along the batch: no lane is wasted on narrow maps and no halo is needed. A channel's
// map is copied, one block of the batch at a time, into a buffer that stays in the cache; there it
// is rectified too. Every function is exact in the sense that only the order of additions differs
// from any other implementation. Compiled for several levels of instruction sets; which one is used
// is decided where it runs (see __init__.py).

#include <cstdint>
#include <cstring>
#include <vector>

namespace {

#ifndef VECTOR_BYTES  // of the widest registers that the compiler may use
#define VECTOR_BYTES 16
#endif

// Two registers, the unit of all loops: one is too little work for the addresses it costs.
template <typename T>
struct Lanes {
  typedef T Register __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(T)), may_alias));
  static constexpr int half = VECTOR_BYTES / sizeof(T), count = 2 * half;
  Register a = {}, b = {};

  static Lanes at(const T *from) { return {*(const Register *)from, *(const Register *)(from + half)}; }
  void to(T *place) const { *(Register *)place = a, *(Register *)(place + half) = b; }
  // The first n of them; the others are zero, or stay as they are in memory.
  static Lanes at(const T *from, int n) {
    if (n == count) return at(from);
    if (n < half) return {some(from, n), Register{}};
    return {*(const Register *)from, some(from + half, n - half)};
  }
  void to(T *place, int n) const {
    if (n == count) return to(place);
    if (n < half) return some(place, a, n);
    *(Register *)place = a;
    some(place + half, b, n - half);
  }
  // Masked instructions, where there are such; but not where these are compiled into a loop.
  __attribute__((noinline)) static Register some(const T *from, int n) {
    Register x;
    for (int i = 0; i < half; i++) x[i] = i < n ? from[i] : T(0);
    return x;
  }
  __attribute__((noinline)) static void some(T *place, Register x, int n) {
    for (int i = 0; i < half; i++)
      if (i < n) place[i] = x[i];
  }
  // max(0, this), in which a NaN stays one.
  Lanes rectified() const {
    const Register zero = {};
    return {a < 0 ? zero : a, b < 0 ? zero : b};
  }
  // This where `x` is positive, zero elsewhere.
  Lanes where_positive(const Lanes &x, T shift) const {
    const Register zero = {};
    return {x.a + shift > 0 ? a : zero, x.b + shift > 0 ? b : zero};
  }
  static Lanes all(T value) {
    Lanes x;
    x.a += value, x.b += value;
    return x;
  }
  // This where `x` equals `value`, zero elsewhere.
  Lanes where_equal(const Lanes &x, T value) const {
    const Register zero = {};
    return {x.a == value ? a : zero, x.b == value ? b : zero};
  }
  // Becomes `x`, and `place` becomes `here`, where that is larger or a NaN.
  void take_larger(const Lanes &x, T here, Lanes &place) {
    const Register zero = {}, there = zero + here;
    const auto in_a = (x.a > a) | (x.a != x.a), in_b = (x.b > b) | (x.b != x.b);
    a = in_a ? x.a : a, b = in_b ? x.b : b;
    place.a = in_a ? there : place.a, place.b = in_b ? there : place.b;
  }
  void add(const Lanes &x) { a += x.a, b += x.b; }
  void add(T factor, const Lanes &x) { a += factor * x.a, b += factor * x.b; }
  void add(const Lanes &x, const Lanes &y) { a += x.a * y.a, b += x.b * y.b; }
  T sum(int n = count) const {
    T all[count], total = 0;
    to(all);
    for (int i = 0; i < n; i++) total += all[i];
    return total;
  }
};

// How a kernel of kh x kw taps moves over a map: "same" padding, rounded-up sizes at stride 2.
// Maps lie in buffers whose rows have `pad` zeros on both sides, so that columns need no limits.
struct Moves {
  int height, width, out_height, out_width, kh, kw, dilation, stride, top, left;

  Moves(int h, int w, int kh, int kw, int dilation, int stride)
      : height(h), width(w), out_height((h + stride - 1) / stride),
        out_width((w + stride - 1) / stride), kh(kh), kw(kw), dilation(dilation), stride(stride),
        top(dilation * (kh - 1) / 2), left(dilation * (kw - 1) / 2) {}

  // Taps [first, last) that fall into [0, size) from an output position; `before` is the padding.
  int first(int position, int before) const {
    int outside = before - stride * position;
    return outside > 0 ? (outside + dilation - 1) / dilation : 0;
  }
  int last(int position, int before, int size, int taps) const {
    int inside = (size - 1 + before - stride * position) / dilation + 1;
    return inside < taps ? inside : taps;
  }
};

// A block of a map plus `shift`, from memory where the batch is long to a buffer of padded rows.
template <typename T>
void gather(const T *from, T *to, int height, int width, int pad, long stride, int count,
            bool rectify, T shift) {
  constexpr int lanes = Lanes<T>::count;
  T shifts[lanes] = {};  // lanes beyond the batch stay zero
  for (int i = 0; i < count; i++) shifts[i] = shift;
  const auto all = Lanes<T>::at(shifts);
  for (int y = 0; y < height; y++) {
    to += pad * lanes;
    for (int x = 0; x < width; x++, from += stride, to += lanes) {
      auto v = Lanes<T>::at(from, count);
      v.add(all);
      (rectify ? v.rectified() : v).to(to);
    }
    to += pad * lanes;
  }
}

// out[m] = (out[m] if `add`) + sum over q and the taps of rows [a0, a1) and columns [b0, b1) of
// weights[q * MB + m] * in[q], at PX columns from `x` on of row `h`. KW > 0: all KW taps of a row,
// at stride 1 and dilation D, so that what neighbouring columns see is loaded once.
template <typename T, int MB, int PX, int KW, int D>
inline void positions(const Moves &g, int pad, const T *const *in, int sources,
                      const T *const *weights, T *const *out, long stride, int count, int h, int x,
                      int a0, int a1, int b0, int b1, bool add) {
  constexpr int lanes = Lanes<T>::count;
  const long step = (long)g.dilation * lanes, next = (long)g.stride * lanes;
  Lanes<T> sum[MB][PX];
  for (int q = 0; q < sources; q++)
    for (int a = a0; a < a1; a++) {
      const long y = (long)h * g.stride + a * g.dilation - g.top;
      const T *line = in[q] + (y * (g.width + 2 * pad) + (long)x * g.stride + pad - g.left) * lanes;
      if constexpr (KW > 0) {
#pragma GCC unroll 16
        for (int i = 0; i < PX + (KW - 1) * D; i++) {
          const auto v = Lanes<T>::at(line + i * lanes);
#pragma GCC unroll 8
          for (int b = 0; b < KW; b++) {
            const int p = i - b * D;
            if (p < 0 || p >= PX) continue;
#pragma GCC unroll 8
            for (int m = 0; m < MB; m++) sum[m][p].add(weights[q * MB + m][a * KW + b], v);
          }
        }
      } else {
        for (int b = b0; b < b1; b++)
#pragma GCC unroll 8
          for (int p = 0; p < PX; p++) {
            const auto v = Lanes<T>::at(line + b * step + p * next);
#pragma GCC unroll 8
            for (int m = 0; m < MB; m++) sum[m][p].add(weights[q * MB + m][a * g.kw + b], v);
          }
      }
    }
  for (int m = 0; m < MB; m++)
    for (int p = 0; p < PX; p++) {
      T *to = out[m] + ((long)h * g.out_width + x + p) * stride;
      if (add) sum[m][p].add(Lanes<T>::at(to, count));
      sum[m][p].to(to, count);
    }
}

template <typename T, int MB, int PX, int KW, int D>
inline int columns(const Moves &g, int pad, const T *const *in, int sources,
                   const T *const *weights, T *const *out, long stride, int count, int h, int x,
                   int a0, int a1, bool add) {
  for (; x + PX <= g.out_width; x += PX) {
    // Taps that see something from one of the columns; the others see zeros.
    const int b0 = g.first(x + PX - 1, g.left), b1 = g.last(x, g.left, g.width, g.kw);
    if (KW && b1 - b0 == KW)
      positions<T, MB, PX, KW, D>(g, pad, in, sources, weights, out, stride, count, h, x, a0, a1, 0,
                                  KW, add);
    else
      positions<T, MB, PX, 0, 0>(g, pad, in, sources, weights, out, stride, count, h, x, a0, a1, b0,
                                 b1, add);
  }
  return x;
}

template <typename T, int MB, int KW, int D>
void correlate(const Moves &g, int pad, const T *const *in, int sources, const T *const *weights,
               T *const *out, long stride, int count, bool add) {
  for (int h = 0; h < g.out_height; h++) {
    const int a0 = g.first(h, g.top), a1 = g.last(h, g.top, g.height, g.kh);
    int x = 0;
    if (MB < 4)  // more sums than there are registers would cost more than they save
      x = columns<T, MB, 4, KW, D>(g, pad, in, sources, weights, out, stride, count, h, x, a0, a1, add);
    x = columns<T, MB, 2, KW, D>(g, pad, in, sources, weights, out, stride, count, h, x, a0, a1, add);
    columns<T, MB, 1, KW, D>(g, pad, in, sources, weights, out, stride, count, h, x, a0, a1, add);
  }
}

// Correlations of `sources` maps with weights[q * MB + m], summed over q into each out[m].
template <typename T, int MB>
void correlate(const Moves &g, int pad, const T *const *in, int sources, const T *const *weights,
               T *const *out, long stride, int count, bool add) {
  const int kind = g.stride == 1 ? 10 * g.kw + g.dilation : 0;
  const auto form = kind == 31   ? correlate<T, MB, 3, 1>
                    : kind == 51 ? correlate<T, MB, 5, 1>
                    : kind == 32 ? correlate<T, MB, 3, 2>
                    : kind == 52 ? correlate<T, MB, 5, 2>
                                 : correlate<T, MB, 0, 0>;
  form(g, pad, in, sources, weights, out, stride, count, add);
}

// Adds to gradient[m][a * kw + first ...] the products of an output's gradient with what KW
// neighbouring taps of a row saw.
template <typename T, int MB, int KW>
void weight_gradient(const Moves &g, int pad, const T *in, const T *const *grad, T *const *gradient,
                     int first) {
  constexpr int lanes = Lanes<T>::count;
  const int row = g.out_width + 2 * pad;
  for (int a = 0; a < g.kh; a++) {
    Lanes<T> sum[MB][KW];
    for (int h = 0; h < g.out_height; h++) {
      const int y = h * g.stride + a * g.dilation - g.top;
      if (y < 0 || y >= g.height) continue;
      const T *line = in + ((long)y * (g.width + 2 * pad) + pad - g.left + first * g.dilation) * lanes;
      const long start = (long)h * row + pad;
      for (int x = 0; x < g.out_width; x++) {
        Lanes<T> v[MB];
#pragma GCC unroll 8
        for (int m = 0; m < MB; m++) v[m] = Lanes<T>::at(grad[m] + (start + x) * lanes);
#pragma GCC unroll 8
        for (int b = 0; b < KW; b++) {
          const auto s = Lanes<T>::at(line + ((long)x * g.stride + b * g.dilation) * lanes);
#pragma GCC unroll 8
          for (int m = 0; m < MB; m++) sum[m][b].add(v[m], s);
        }
      }
    }
    for (int m = 0; m < MB; m++)
      for (int b = 0; b < KW; b++) gradient[m][a * g.kw + first + b] += sum[m][b].sum();
  }
}

template <typename T, int MB>
void weight_gradient(const Moves &g, int pad, const T *in, const T *const *grad,
                     T *const *gradient) {
  // Taps that see something from any column: on a narrow map, not all of them.
  const int first = g.first(g.out_width - 1, g.left), last = g.last(0, g.left, g.width, g.kw);
  const int taps = last - first;
  if (taps == 1)
    weight_gradient<T, MB, 1>(g, pad, in, grad, gradient, first);
  else if (taps == 3)
    weight_gradient<T, MB, 3>(g, pad, in, grad, gradient, first);
  else if (taps == 5)
    weight_gradient<T, MB, 5>(g, pad, in, grad, gradient, first);
  else
    for (int b = first; b < last; b++)
      weight_gradient<T, MB, 1>(g, pad, in, grad, gradient, b);
}

// Adds an output's gradient to the input positions it came from; for strides above 1.
template <typename T>
void scatter(const Moves &g, int pad, const T *grad, const T *weights, T *out) {
  constexpr int lanes = Lanes<T>::count;
  for (int h = 0; h < g.out_height; h++) {
    const int a0 = g.first(h, g.top), a1 = g.last(h, g.top, g.height, g.kh);
    for (int x = 0; x < g.out_width; x++) {
      const int b0 = g.first(x, g.left), b1 = g.last(x, g.left, g.width, g.kw);
      const auto v = Lanes<T>::at(grad + ((long)h * (g.out_width + 2 * pad) + pad + x) * lanes);
      for (int a = a0; a < a1; a++) {
        const long y = (long)h * g.stride + a * g.dilation - g.top;
        T *to = out + (y * g.width + (long)x * g.stride - g.left) * lanes;
        for (int b = b0; b < b1; b++) {
          auto sum = Lanes<T>::at(to + b * g.dilation * lanes);
          sum.add(weights[a * g.kw + b], v);
          sum.to(to + b * g.dilation * lanes);
        }
      }
    }
  }
}

// A call: x [channels, h, w, n] shared by all outputs, or [outputs, kernels, channels, h, w, n];
// weights [outputs, channels, taps of all kernels]; out [outputs, kernels, channels, h', w', n].
struct Call {
  long outputs, kernels, channels, batch, taps;
  bool shared, rectify;
  std::vector<Moves> moves;
  std::vector<long> start;  // of each kernel's taps

  Call(long outputs, long kernels, const int64_t *widths, bool flat, long channels, long h, long w,
       long n, int dilation, int stride, bool shared, bool rectify)
      : outputs(outputs), kernels(kernels), channels(channels), batch(n), taps(0), shared(shared),
        rectify(rectify) {
    for (long k = 0; k < kernels; k++) {
      int width = (int)widths[k], height = flat ? 1 : width;
      moves.emplace_back((int)h, (int)w, height, width, dilation, stride);
      start.push_back(taps);
      taps += (long)height * width;
    }
  }
  // Of the rows of buffers, on both sides.
  int pad() const {
    int widest = 0;
    for (const Moves &g : moves) widest = g.left > widest ? g.left : widest;
    return widest;
  }
  long padded_in() const { return (long)moves[0].height * (moves[0].width + 2 * pad()); }
  long padded_out() const { return (long)moves[0].out_height * (moves[0].out_width + 2 * pad()); }
  long in_size() const { return (long)moves[0].height * moves[0].width; }
  long out_size() const { return (long)moves[0].out_height * moves[0].out_width; }
  long map(long m, long k, long c) const { return (m * kernels + k) * channels + c; }
  long source(long m, long k, long c) const { return shared ? c : map(m, k, c); }
  long weight(long m, long k, long c) const { return (m * channels + c) * taps + start[k]; }
  long sources() const { return shared ? channels : outputs * kernels * channels; }
};

// Calls `work(block's first example, its length)`.
template <typename T, typename Work>
void for_blocks(long batch, Work work) {
  for (long n0 = 0; n0 < batch; n0 += Lanes<T>::count) {
    const long left = batch - n0;
    work(n0, (int)(left < Lanes<T>::count ? left : Lanes<T>::count));
  }
}

// The part of a call that one thread does at a time: outputs [m0, m1) and kernels [k0, k1) of one
// channel, `count` examples of the batch from n0 on.
struct Part {
  long m0, m1, k0, k1, channel, n0;
  int count;
};

// Calls `work` for each part: those of a shared input together, so that it is read once.
template <typename T, typename Work>
void for_parts(const Call &call, long task, Work work) {
  const long c = task % call.channels, k = task / call.channels % call.kernels,
             m = task / call.channels / call.kernels;
  for_blocks<T>(call.batch, [&](long n0, int count) {
    if (call.shared)
      work(Part{0, call.outputs, 0, call.kernels, c, n0, count});
    else
      work(Part{m, m + 1, k, k + 1, c, n0, count});
  });
}

template <typename T, int MB>
void forward_outputs(const Call &call, const Part &p, long m, long k, const T *plane,
                     const T *weights, T *out) {
  const T *in[1] = {plane}, *w[MB];
  T *to[MB];
  for (int i = 0; i < MB; i++) {
    w[i] = weights + call.weight(m + i, k, p.channel);
    to[i] = out + call.map(m + i, k, p.channel) * call.out_size() * call.batch + p.n0;
  }
  correlate<T, MB>(call.moves[k], call.pad(), in, 1, w, to, call.batch, p.count, false);
}

template <typename T>
void forward_part(const Call &call, const Part &p, const T *x, const T *weights, const T *shift,
                  T *out, T *plane) {
  const long source = call.source(p.m0, p.k0, p.channel);
  const Moves &g = call.moves[0];
  gather<T>(x + source * call.in_size() * call.batch + p.n0, plane, g.height, g.width, call.pad(),
            call.batch, p.count, call.rectify, shift ? shift[source] : T(0));
  for (long k = p.k0; k < p.k1; k++)
    for (long m = p.m0; m < p.m1;) {
      const long left = p.m1 - m;
      if (left >= 4) {
        forward_outputs<T, 4>(call, p, m, k, plane, weights, out);
        m += 4;
      } else if (left >= 2) {
        forward_outputs<T, 2>(call, p, m, k, plane, weights, out);
        m += 2;
      } else {
        forward_outputs<T, 1>(call, p, m, k, plane, weights, out);
        m += 1;
      }
    }
}

// Outputs whose gradients are taken together: more of them would not stay in the cache.
constexpr int TOGETHER = 2;

template <typename T>
struct Buffers {
  std::vector<T> plane, result, grads, flipped;
};

// What COUNT outputs [m, m + COUNT) of one kernel, whose gradient is grad + offset, give back to the map in buffers.plane: adds to
// the gradients of their weights, and to buffers.result where `by_input`, or sets it if `first`.
template <typename T, int COUNT>
void backward_outputs(const Call &call, const Part &p, long m, long k, const T *weights,
                      const T *grad, const T *offset, T *by_weight, bool by_input, bool first,
                      Buffers<T> &buffers) {
  const Moves &g = call.moves[k];
  const long taps = (long)g.kh * g.kw, plane = call.padded_out() * Lanes<T>::count;
  const T *in[COUNT], *flipped[COUNT];
  T *by_weights[COUNT], *result = buffers.result.data();
  for (int i = 0; i < COUNT; i++) {
    gather<T>(grad + call.map(m + i, k, p.channel) * call.out_size() * call.batch + p.n0,
              buffers.grads.data() + i * plane, g.out_height, g.out_width, call.pad(), call.batch,
              p.count, false, offset ? offset[call.map(m + i, k, p.channel)] : T(0));
    in[i] = buffers.grads.data() + i * plane;
    by_weights[i] = by_weight + call.weight(m + i, k, p.channel);
  }
  if (by_weight)
    weight_gradient<T, COUNT>(g, call.pad(), buffers.plane.data(), in, by_weights);
  if (!by_input) return;
  if (g.stride > 1) {
    if (first) std::memset(result, 0, sizeof(T) * call.in_size() * Lanes<T>::count);
    for (int i = 0; i < COUNT; i++)
      scatter<T>(g, call.pad(), in[i], weights + call.weight(m + i, k, p.channel), result);
    return;
  }
  for (int i = 0; i < COUNT; i++) {
    T *turned = buffers.flipped.data() + i * taps;
    const T *w = weights + call.weight(m + i, k, p.channel);
    for (long t = 0; t < taps; t++) turned[t] = w[taps - 1 - t];
    flipped[i] = turned;
  }
  correlate<T, 1>(g, call.pad(), in, COUNT, flipped, &result, Lanes<T>::count, Lanes<T>::count,
                  !first);
}

// The gradients of one input map: by itself, by its shift, and by the weights that met it.
template <typename T>
void backward_part(const Call &call, const Part &p, const T *x, const T *weights, const T *shift,
                   const T *grad, const T *offset, T *by_x, T *by_weight, T *by_shift,
                   Buffers<T> &buffers) {
  constexpr int lanes = Lanes<T>::count;
  const long source = call.source(p.m0, p.k0, p.channel), in_size = call.in_size(),
             start = source * in_size * call.batch + p.n0;
  const T add = shift ? shift[source] : T(0);
  if (by_weight)
    gather<T>(x + start, buffers.plane.data(), call.moves[0].height, call.moves[0].width, call.pad(),
              call.batch, p.count, call.rectify, add);
  for (long k = p.k0; k < p.k1; k++)
    for (long m = p.m0; m < p.m1; m += TOGETHER) {
      const bool first = k == p.k0 && m == p.m0;
      if (m + TOGETHER <= p.m1)
        backward_outputs<T, TOGETHER>(call, p, m, k, weights, grad, offset, by_weight, by_x, first,
                                      buffers);
      else
        backward_outputs<T, 1>(call, p, m, k, weights, grad, offset, by_weight, by_x, first,
                                      buffers);
    }
  if (!by_x) return;
  Lanes<T> total;
  for (long i = 0; i < in_size; i++) {
    auto v = Lanes<T>::at(buffers.result.data() + i * lanes);
    if (call.rectify) v = v.where_positive(Lanes<T>::at(x + start + i * call.batch, p.count), add);
    total.add(v);
    v.to(by_x + start + i * call.batch, p.count);
  }
  if (by_shift) by_shift[source] += total.sum(p.count);
}

template <typename T>
void forward(const Call &call, const T *x, const T *weights, const T *shift, T *out, int threads) {
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    std::vector<T> plane(call.padded_in() * Lanes<T>::count);
#pragma omp for
    for (long task = 0; task < call.sources(); task++)
      for_parts<T>(call, task, [&](const Part &part) {
        forward_part<T>(call, part, x, weights, shift, out, plane.data());
      });
  }
}

template <typename T>
void backward(const Call &call, const T *x, const T *weights, const T *shift, const T *grad,
              const T *offset, T *by_x, T *by_weight, T *by_shift, int threads) {
  if (by_weight) std::memset(by_weight, 0, sizeof(T) * call.outputs * call.channels * call.taps);
  if (by_shift) std::memset(by_shift, 0, sizeof(T) * call.sources());
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    Buffers<T> buffers;
    buffers.plane.resize(call.padded_in() * Lanes<T>::count);
    buffers.result.resize(call.in_size() * Lanes<T>::count);
    buffers.grads.resize(TOGETHER * call.padded_out() * Lanes<T>::count);
    buffers.flipped.resize(TOGETHER * call.taps);
#pragma omp for
    for (long task = 0; task < call.sources(); task++)
      for_parts<T>(call, task, [&](const Part &part) {
        backward_part<T>(call, part, x, weights, shift, grad, offset, by_x, by_weight, by_shift,
                         buffers);
      });
  }
}

// Windows of 3x3 with padding 1 around the position (i, j) of a pool's output.
struct Window {
  int y, x, y0, y1, x0, x1;  // middle, and first and last offset from it that exist
  Window(int i, int j, int h, int w, int stride)
      : y(i * stride), x(j * stride), y0(y > 0 ? -1 : 0), y1(y + 1 < h ? 1 : 0),
        x0(x > 0 ? -1 : 0), x1(x + 1 < w ? 1 : 0) {}
  template <typename T>
  T share() const {
    return T(1) / ((y1 - y0 + 1) * (x1 - x0 + 1));
  }
};

// The largest value of each window, the first one of equals, and the mean of those that exist.
// `index` [maps, h', w', n] is the place 0..8 of the largest in its window. One of the two pools may
// be left out, by a null pointer.
template <typename T>
void pools(const T *x, T *largest, T *mean, uint8_t *index, long maps, int h, int w, long n,
           int stride, int threads) {
  constexpr int lanes = Lanes<T>::count;
  const int oh = (h + stride - 1) / stride, ow = (w + stride - 1) / stride;
#pragma omp parallel for num_threads(threads) if (threads > 1)
  for (long c = 0; c < maps; c++)
    for (int i = 0; i < oh; i++)
      for (int j = 0; j < ow; j++) {
        const Window at(i, j, h, w, stride);
        const long o = (c * oh * ow + (long)i * ow + j) * n;
        for_blocks<T>(n, [&](long n0, int count) {
          Lanes<T> best, place, total, sum;
          for (int a = at.y0; a <= at.y1; a++)
            for (int b = at.x0; b <= at.x1; b++) {
              const T *from = x + ((c * h + at.y + a) * w + at.x + b) * n + n0;
              const auto v = Lanes<T>::at(from, count);
              if (a == at.y0 && b == at.x0) {
                best = v;
                place = Lanes<T>::all(T((a + 1) * 3 + b + 1));
              } else {
                best.take_larger(v, T((a + 1) * 3 + b + 1), place);
              }
              sum.add(v);
            }
          total.add(at.share<T>(), sum);
          if (mean) total.to(mean + o + n0, count);
          if (!largest) return;
          best.to(largest + o + n0, count);
          T places[lanes];
          place.to(places);
          for (int e = 0; e < count; e++) index[o + n0 + e] = (uint8_t)places[e];
        });
      }
}

template <typename T>
void pools_backward(const T *largest, const T *mean, const uint8_t *index, T *out, long maps, int h,
                    int w, long n, int stride, int threads) {
  constexpr int lanes = Lanes<T>::count;
  const int oh = (h + stride - 1) / stride, ow = (w + stride - 1) / stride;
#pragma omp parallel for num_threads(threads) if (threads > 1)
  for (long c = 0; c < maps; c++) {
    std::memset(out + c * h * w * n, 0, sizeof(T) * h * w * n);
    for (int i = 0; i < oh; i++)
      for (int j = 0; j < ow; j++) {
        const Window at(i, j, h, w, stride);
        const long o = (c * oh * ow + (long)i * ow + j) * n;
        for_blocks<T>(n, [&](long n0, int count) {
          T places[lanes] = {};
          Lanes<T> share, top;
          if (mean) share.add(at.share<T>(), Lanes<T>::at(mean + o + n0, count));
          if (largest) {
            top = Lanes<T>::at(largest + o + n0, count);
            for (int e = 0; e < count; e++) places[e] = index[o + n0 + e];
          }
          const auto place = Lanes<T>::at(places);
          for (int a = at.y0; a <= at.y1; a++)
            for (int b = at.x0; b <= at.x1; b++) {
              T *to = out + ((c * h + at.y + a) * w + at.x + b) * n + n0;
              auto sum = Lanes<T>::at(to, count);
              sum.add(share);
              sum.add(top.where_equal(place, T((a + 1) * 3 + b + 1)));
              sum.to(to, count);
            }
        });
      }
  }
}

}  // namespace

#define DOORS(T, NAME)                                                                              \
  extern "C" void NAME##_forward(const T *x, const T *weights, const T *shift, T *out,              \
                                 long outputs, long kernels, const int64_t *widths, int flat,       \
                                 long channels, long h, long w, long n, int dilation, int stride,   \
                                 int shared, int rectify, int threads) {                            \
    forward<T>(Call(outputs, kernels, widths, flat, channels, h, w, n, dilation, stride, shared,    \
                    rectify),                                                                       \
               x, weights, shift, out, threads);                                                    \
  }                                                                                                 \
  extern "C" void NAME##_backward(const T *x, const T *weights, const T *shift, const T *grad,      \
                                  const T *offset, T *grad_x, T *grad_w, T *grad_shift, long outputs, long kernels,  \
                                  const int64_t *widths, int flat, long channels, long h, long w,   \
                                  long n, int dilation, int stride, int shared, int rectify,        \
                                  int threads) {                                                    \
    backward<T>(Call(outputs, kernels, widths, flat, channels, h, w, n, dilation, stride, shared,   \
                     rectify),                                                                      \
                x, weights, shift, grad, offset, grad_x, grad_w, grad_shift, threads);              \
  }                                                                                                 \
  extern "C" void NAME##_pools(const T *x, T *largest, T *mean, uint8_t *index, long maps, int h,   \
                               int w, long n, int stride, int threads) {                            \
    pools<T>(x, largest, mean, index, maps, h, w, n, stride, threads);                              \
  }                                                                                                 \
  extern "C" void NAME##_pools_backward(const T *largest, const T *mean, const uint8_t *index,      \
                                        T *out, long maps, int h, int w, long n, int stride,        \
                                        int threads) {                                              \
    pools_backward<T>(largest, mean, index, out, maps, h, w, n, stride, threads);                   \
  }

DOORS(float, float32)
DOORS(double, float64)
