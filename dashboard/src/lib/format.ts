/** Numbers and times as people read them. */

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const onAxis = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const toTheMinute = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" } as const;
const clock = new Intl.DateTimeFormat("en", { ...toTheMinute, second: "2-digit" });
const hourAndMinute = new Intl.DateTimeFormat("en", toTheMinute);

export const count = (value: number): string => whole.format(value);
export const shortCount = (value: number): string => compact.format(value);
/** The label of a tick: as short as neighbours that are a hundredth apart allow. */
export const tick = (value: number): string => onAxis.format(value);
export const plural = (value: number, one: string, many = `${one}s`): string =>
  `${count(value)} ${value === 1 ? one : many}`;

export const percent = (part: number, all: number): string =>
  all === 0 ? "–" : `${((100 * part) / all).toFixed(1)}%`;

export const rate = (perSecond: number): string =>
  perSecond >= 100 ? whole.format(perSecond) : perSecond.toFixed(1);

export const timeOfDay = (ms: number): string => clock.format(ms);
export const minuteOfDay = (ms: number): string => hourAndMinute.format(ms);

/** A value for a datetime-local input: 2026-01-02T03:04, in the viewer's time zone. */
export function localMinute(ms: number): string {
  const offset = new Date(ms).getTimezoneOffset() * 60_000;
  return new Date(ms - offset).toISOString().slice(0, 16);
}

/** An exact decimal from the API: digits are grouped, never rounded, whatever their number. */
export function amount(decimal: string): string {
  const [, sign = "", digits = "", fraction = ""] = /^(-?)(\d+)(\.\d+)?$/.exec(decimal) ?? [];
  if (!digits) return decimal;
  return `${sign}${digits.replace(/\B(?=(\d{3})+$)/g, ",")}${fraction}`;
}

/** An age in the largest unit that fits: `now`, `12 s`, `4 min`, `3 h`, `2 d`. */
export function age(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 1) return "now";
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** An age in a sentence: `just now`, `12 s ago`. */
export const ago = (ms: number): string => (ms < 1000 ? "just now" : `${age(ms)} ago`);

/** A delay: `12 ms`, `1.4 s`, `3 min`. */
export function duration(ms: number): string {
  if (Math.abs(ms) < 1000) return `${Math.round(ms)} ms`;
  if (Math.abs(ms) < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  return age(ms);
}

/** A delay that shows seconds after the first minute too: `12 ms`, `1.4 s`, `1 min 4 s`, `2 h`. */
export function span(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60 || seconds >= 3600 || seconds % 60 === 0) return duration(ms);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** Whole seconds until a time, for a countdown; at least 1. */
export function secondsUntil(then: number, now: number): number {
  return Math.max(1, Math.ceil((then - now) / 1000));
}
