/** The flag of the client program that lets a native client make the calls. */
export const NATIVE_FLAG = '--native';
