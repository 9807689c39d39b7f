/** Numbers and names as people read them.  Minus is U+2212, as wide as a plus. */

const MINUS = "\u2212";

function withMinus(text: string): string {
  return text.replace(/^-/, MINUS).replace("e-", `e${MINUS}`).replace("e+", "e");
}

/** 0.5634 -> "0.563"; never "−0.000"; "∞" for infinities and "NaN" for no number. */
export function fixed(value: number, digits: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : `${MINUS}∞`;
  if (Math.abs(value) >= 1e5) return withMinus(value.toExponential(digits));
  const text = value.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : withMinus(text);
}

/** As `fixed`, with a plus in front of positive numbers. */
export function signed(value: number, digits: number): string {
  const text = fixed(value, digits);
  return value > 0 && Number(text) !== 0 ? `+${text}` : text;
}

/** As `fixed`, but numbers that would vanish keep their size: 3e-6 -> "3e−6". */
export function compact(value: number, digits: number): string {
  const vanishes = value !== 0 && Math.abs(value) < 0.5 * 10 ** -digits;
  return vanishes ? withMinus(value.toExponential(0)) : fixed(value, digits);
}

/** As `compact`, without digits that say nothing: 1 -> "1", 0.05 -> "0.05". */
export function brief(value: number): string {
  return compact(value, 3).replace(/\.?0+$/, "");
}

/** 0.914 -> "91%", 0.0034 -> "0.3%". */
export function percent(probability: number): string {
  const value = 100 * probability;
  if (value >= 9.95) return `${value.toFixed(0)}%`;
  return value > 0 && value < 0.05 ? "<0.1%" : `${value.toFixed(1)}%`;
}

/** 0.42 -> "0.4 s", 75 -> "1 min 15 s", 7300 -> "2 h 2 min". */
export function duration(seconds: number): string {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const [minutes, rest] = [Math.floor(whole / 60), whole % 60];
  if (minutes < 60) return rest ? `${minutes} min ${rest} s` : `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
