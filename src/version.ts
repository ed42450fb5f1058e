/** The version of this kvx, written into what outlives it: manifests, reports. A test keeps it package.json's. */
export const kvxVersion = '0.1.0'

/** The day of that version, for manual pages. */
export const kvxReleased = '2026-11-22'
