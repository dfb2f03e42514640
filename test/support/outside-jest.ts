// For what is run without a test runner and imports servers.ts: that also says what is skipped, which only a runner can.
import { registerHooks } from 'node:module';

registerHooks({
  resolve: (specifier, context, next) =>
    specifier === '@jest/globals'
      ? {
          url: 'data:text/javascript,export const afterAll = undefined, describe = undefined, test = undefined',
          shortCircuit: true,
        }
      : next(specifier, context),
});
