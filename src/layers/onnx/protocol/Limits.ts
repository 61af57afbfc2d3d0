/** The largest frame that either side takes, in bytes: a call's inputs or outputs, whole. */
export const maxFrameBytes = 256 * 1024 * 1024
