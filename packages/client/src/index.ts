export { type AxiosLike, installOn } from './axios.ts';
export { type BudgetOptions, createBudget, type RetryBudget, sharedBudget } from './budget.ts';
export { type GaveUp, type Problem, RetryError } from './errors.ts';
export type { ClientOptions, Retry } from './exchange.ts';
export { createFetch, type Fetch, type FetchInit, type FetchOptions } from './fetch.ts';
export { newKey } from './key.ts';
export { type Accepted, type Receipt, type ReceiptOptions, waitForReceipt } from './receipt.ts';
