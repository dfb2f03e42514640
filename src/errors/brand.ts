// `instanceof` by a mark instead of by identity: a plugin that comes from outside brings its own copy of these classes,
// and its Stale must be ours.

/** Gives `type` a mark that every copy of it shares; subclasses stay what they are. */
export function brand(type: abstract new (...args: any[]) => object, name: string): void {
  const mark = Symbol.for(`maint.${name}`);
  Object.defineProperty(type.prototype, mark, { value: true });
  Object.defineProperty(type, Symbol.hasInstance, {
    value(this: unknown, it: unknown): boolean {
      if (this !== type) return Function.prototype[Symbol.hasInstance].call(this as never, it);
      return typeof it === 'object' && it !== null && mark in it;
    },
  });
}
