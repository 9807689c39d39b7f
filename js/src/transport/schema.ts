/** Shapes of messages: each reads an unknown value, or throws a sentence that says where it is not as agreed. */
import { unreadable } from "./errors";

export type Shape<T> = (value: unknown, at: string) => T;
export type Read<S> = S extends Shape<infer T> ? T : never;
type Fields = Record<string, Shape<unknown>>;
type Tuple<S extends readonly Shape<unknown>[]> = { [I in keyof S]: Read<S[I]> };

function wrong(at: string, wanted: string, value: unknown): never {
  const found = JSON.stringify(value) ?? "nothing";
  unreadable(`${at || "it"} should be ${wanted}, and is ${found.slice(0, 80)}`);
}

const primitive =
  <T>(type: "string" | "number" | "boolean"): Shape<T> =>
  (value, at) =>
    typeof value === type ? (value as T) : wrong(at, `a ${type}`, value);

export const string = primitive<string>("string");
export const number = primitive<number>("number");
export const boolean = primitive<boolean>("boolean");

/** A whole number from 0 on. */
export const count: Shape<number> = (value, at) =>
  Number.isInteger(value) && (value as number) >= 0 ? (value as number) : wrong(at, "a whole number from 0 on", value);

/** A name, or a number. */
export const coordinate: Shape<string | number> = (value, at) =>
  typeof value === "string" || typeof value === "number" ? value : wrong(at, "a number or a name", value);

/** `missing` where the field is left out or null. */
export function optional<T, D>(shape: Shape<T>, missing: D): Shape<T | D> {
  return (value, at) => (value === undefined || value === null ? missing : shape(value, at));
}

export function nullable<T>(shape: Shape<T>): Shape<T | null> {
  return optional(shape, null);
}

export function array<T>(shape: Shape<T>): Shape<T[]> {
  return (value, at) =>
    Array.isArray(value) ? value.map((item, i) => shape(item, `${at}.${i}`)) : wrong(at, "a list", value);
}

export function tuple<const S extends readonly Shape<unknown>[]>(...shapes: S): Shape<Tuple<S>> {
  return (value, at) =>
    Array.isArray(value) && value.length >= shapes.length
      ? (shapes.map((shape, i) => shape(value[i], `${at}.${i}`)) as Tuple<S>)
      : wrong(at, `a list of ${shapes.length}`, value);
}

const entries = (value: unknown, at: string) =>
  value !== null && typeof value === "object" && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : wrong(at, "an object", value);

/** Fields that are not known are left out. */
export function object<F extends Fields>(fields: F): Shape<{ [K in keyof F]: Read<F[K]> }> {
  return (value, at) => {
    const given = entries(value, at);
    const read = Object.entries(fields).map(([name, shape]) => [name, shape(given[name], at ? `${at}.${name}` : name)]);
    return Object.fromEntries(read);
  };
}

export function record<T>(shape: Shape<T>): Shape<Record<string, T>> {
  return (value, at) =>
    Object.fromEntries(Object.entries(entries(value, at)).map(([name, item]) => [name, shape(item, `${at}.${name}`)]));
}

export function oneOf<const T extends string>(...texts: T[]): Shape<T> {
  return (value, at) => (texts.includes(value as T) ? (value as T) : wrong(at, texts.join(" or "), value));
}

/** One of several shapes, told apart by a field. */
export function variant<K extends string, V extends Record<string, Shape<object>>>(
  tag: K,
  shapes: V,
): Shape<{ [N in keyof V]: Read<V[N]> & Record<K, N> }[keyof V]> {
  return (value, at) => {
    const name = oneOf(...Object.keys(shapes))(entries(value, at)[tag], at ? `${at}.${tag}` : tag);
    return { ...(shapes[name] as Shape<object>)(value, at), [tag]: name } as never;
  };
}
