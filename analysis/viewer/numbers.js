// Numbers: decoding of the stacks, differences, statistics of a region, its noise power spectrum.

/** Inflate a packed stack: low bytes of all pixels, then high bytes, of int16 in units of a step. */
async function inflate(stack) {
  const letters = atob(stack.data), packed = new Uint8Array(letters.length);
  for (let i = 0; i < packed.length; i++) packed[i] = letters.charCodeAt(i);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer());
  const n = planes.length / 2;
  const stored = new Int16Array(n);
  for (let i = 0; i < n; i++) stored[i] = planes[i] | (planes[n + i] << 8);
  return { ...stack, data: "", stored };
}

/** CT numbers [HU] of image k of a stack; the last one if there are fewer. */
function imageOf(stack, k) {
  const size = stack.rows * stack.cols;
  const first = Math.min(k, stack.count - 1) * size;
  const values = new Float64Array(size);
  // dividing by 10 gives the decimal that was written; multiplying by 0.1 would not
  if (stack.step === 0.1) for (let i = 0; i < size; i++) values[i] = stack.stored[first + i] / 10;
  else for (let i = 0; i < size; i++) values[i] = stack.stored[first + i] * stack.step;
  return values;
}

/** Difference of two images of CT numbers, both multiples of 0.1 HU. */
function minus(a, b) {
  return a.map((value, i) => Math.round((value - b[i]) * 10) / 10);
}

/** Mean, sample standard deviation, least and largest value over a region {r0, c0, r1, c1}. */
function statistics(values, cols, region) {
  let n = 0, sum = 0, least = Infinity, largest = -Infinity;
  const each = (visit) => {
    for (let r = region.r0; r <= region.r1; r++)
      for (let c = region.c0; c <= region.c1; c++) visit(values[r * cols + c]);
  };
  each((value) => {
    n += 1; sum += value;
    least = Math.min(least, value); largest = Math.max(largest, value);
  });
  const mean = sum / n;
  let squares = 0;
  each((value) => { squares += (value - mean) ** 2; });
  return { n, mean, sd: n > 1 ? Math.sqrt(squares / (n - 1)) : 0, least, largest };
}

const LARGEST_SPECTRUM = 128; // pixels a side: a larger region is cut to its middle

/**
 * Noise power spectrum of a region, its mean removed, averaged over directions.
 * NPS(u, v) = Δx Δy / (Nx Ny) |Σ (d - mean) exp(-2πi(ux + vy))|²  [HU² mm²]
 * (Siewerdsen et al., Med. Phys. 29, 2655, 2002; one region, no window). Rings are 1/(N Δ) wide, up to the Nyquist frequency.
 * Returns the frequencies [1/mm], the mean of each ring, and the sum over the plane times
 * Δu Δv, which is the variance of the region [HU²].
 */
function spectrum(values, cols, region, spacing) {
  const cut = (low, high) => {
    const n = Math.min(high - low + 1, LARGEST_SPECTRUM);
    return [low + Math.floor((high - low + 1 - n) / 2), n];
  };
  const [top, ny] = cut(region.r0, region.r1), [left, nx] = cut(region.c0, region.c1);
  const [sy, sx] = spacing;
  const part = { r0: top, c0: left, r1: top + ny - 1, c1: left + nx - 1 };
  const mean = statistics(values, cols, part).mean;
  const turn = (n) => Array.from({ length: n }, (_, k) => 2 * Math.PI * k / n);
  const cosX = turn(nx).map(Math.cos), sinX = turn(nx).map(Math.sin);
  const cosY = turn(ny).map(Math.cos), sinY = turn(ny).map(Math.sin);
  const half = Math.floor(nx / 2) + 1;
  const re = new Float64Array(ny * half), im = new Float64Array(ny * half);
  for (let r = 0; r < ny; r++)
    for (let u = 0; u < half; u++)
      for (let c = 0, a = 0; c < nx; c++, a = (a + u) % nx) {
        const value = values[(top + r) * cols + left + c] - mean;
        re[r * half + u] += value * cosX[a];
        im[r * half + u] -= value * sinX[a];
      }
  const width = 1 / Math.max(nx * sx, ny * sy);
  const rings = Math.floor(0.5 / Math.max(sx, sy) / width + 1e-9);
  const sums = new Float64Array(rings + 1), counts = new Float64Array(rings + 1);
  let power = 0;
  for (let u = 0; u < half; u++) {
    const twice = u === 0 || 2 * u === nx ? 1 : 2; // the other half plane is its mirror image
    for (let v = 0; v < ny; v++) {
      let a = 0, real = 0, imaginary = 0;
      for (let r = 0; r < ny; r++, a = (a + v) % ny) {
        const p = re[r * half + u], q = im[r * half + u];
        real += p * cosY[a] + q * sinY[a];
        imaginary += q * cosY[a] - p * sinY[a];
      }
      const density = sx * sy / (nx * ny) * (real * real + imaginary * imaginary);
      power += twice * density / (nx * sx * ny * sy);
      const radius = Math.hypot(u / (nx * sx), Math.min(v, ny - v) / (ny * sy));
      const ring = Math.round(radius / width);
      if (ring <= rings) { sums[ring] += twice * density; counts[ring] += twice; }
    }
  }
  const frequency = [], density = [];
  for (let k = 1; k <= rings; k++)
    if (counts[k]) { frequency.push(k * width); density.push(sums[k] / counts[k]); }
  return { frequency, density, power, nx, ny };
}
