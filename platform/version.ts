declare const LIVEVMM_VERSION: string | undefined;

/** The version in package.json, which the build puts in; 0.0.0 when the TypeScript runs unbuilt. */
export const VERSION: string = typeof LIVEVMM_VERSION === 'undefined' ? '0.0.0' : LIVEVMM_VERSION;
