/** @type {import('jest').Config} */
export default {
  testEnvironment: 'node',
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '\\.ts$': '<rootDir>/test/support/strip-types.cjs' },
  testEnvironmentOptions: { customExportConditions: ['maint-source', 'node', 'node-addons'] },
  modulePathIgnorePatterns: ['<rootDir>/dist/', '<rootDir>/packages/.*/dist/'],
  setupFilesAfterEnv: ['<rootDir>/test/support/console.ts'],
  coverageProvider: 'v8',
  testTimeout: 30_000,
  slowTestThreshold: 0,
  maxWorkers: 2,
};
