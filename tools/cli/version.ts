declare const LIVEVMM_VERSION: string | undefined;

/** The version of package.json, put in by tools/build.mjs; 'source' when the TypeScript runs unbuilt. */
export const VERSION: string = typeof LIVEVMM_VERSION === 'undefined' ? 'source' : LIVEVMM_VERSION;
