/** The version of this kvx, written into what outlives it: manifests, reports. A test keeps it package.json's. */
export const kvxVersion = '0.1.0'
