/** The commented file that `kvx init` writes: every line that an operator edits, with the form of what goes there. */
export function configTemplate(home: string | undefined): string {
  return `# What kvx knows of your application. Reference: docs/configuration.md, layouts: docs/layouts.md
kvx: 1
${home === undefined ? '# home: /var/lib/kvx          # default: .kvx beside this file' : `home: ${yamlText(home)}`}

keys:
  # master:
  #   purpose: kek                     # kek wraps DEKs, data seals values directly, vault seals kvx vaults
  #   publish:                         # where the application reads it
  #     - env-file: /etc/app/app.env
  #       current: APP_KEK
  #       previous: APP_KEK_OLD        # if it can read with a second key
  #       encoding: base64
  #   backup:
  #     recipients: [40-hex-digit OpenPGP fingerprints]

stores:
  # app: { sqlite: /var/lib/app/app.db }

envelopes:
  # app.secrets:
  #   store: app
  #   table: secrets
  #   id: id
  #   key: master
  #   dek:   { column: wrapped_dek, aead: aes-256-gcm, layout: "nonce:12 ct tag:16" }
  #   value: { column: ciphertext,  aead: aes-256-gcm, layout: "base64(nonce:12 ct tag:16)", aad: '"secrets|" {id}' }
`
}

/** A path as a double-quoted YAML scalar, which reads JSON's escapes. */
function yamlText(text: string): string {
  return JSON.stringify(text)
}
