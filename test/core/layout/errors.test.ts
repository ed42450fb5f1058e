import { expect, test } from 'vitest'
import { isKvxError } from '../../../src/core/errors.ts'
import { compileLayout } from '../../../src/core/layout/layout.ts'
import { compileTemplate } from '../../../src/core/layout/template.ts'

/** What the operator reads: the message, and below it the hint. */
function refusal(compile: () => unknown): string {
  try {
    compile()
  } catch (error) {
    if (isKvxError(error, 'LAYOUT_INVALID')) return `${error.message}\n${error.hint}`
    throw error
  }
  return 'accepted'
}

const layout = (source: string): string => refusal(() => compileLayout(source))
const template = (source: string): string => refusal(() => compileTemplate(source))

test('points at the part whose beginning nobody can find', () => {
  expect(layout('nonce:12 ct tag')).toMatchInlineSnapshot(`
    "layout, line 1, column 13: ct and tag stand next to each other and neither has a length, so nobody can tell where ct ends
      nonce:12 ct tag
                  ^^^
    give one of them its length, e.g. tag:16, or put the delimiter that the value has behind ct"
  `)
  expect(layout('base64(nonce:12 ct tag:16) hex(mac)')).toMatchInlineSnapshot(`
    "layout, line 1, column 28: base64(nonce:12 ct tag:16) and hex(mac) stand next to each other and neither has a length, so nobody can tell where base64(nonce:12 ct tag:16) ends
      base64(nonce:12 ct tag:16) hex(mac)
                                 ^^^^^^^^
    give one of them its length, e.g. tag:16, or put the delimiter that the value has behind base64(nonce:12 ct tag:16)"
  `)
  expect(layout('hex(ct) nonce:12 hex(mac)')).toMatchInlineSnapshot(`
    "layout, line 1, column 18: hex(ct) and hex(mac) have no delimiter between them and neither has a length, so nobody can tell where hex(ct) ends
      hex(ct) nonce:12 hex(mac)
                       ^^^^^^^^
    give one of them its length, e.g. tag:16, or put the delimiter that the value has behind hex(ct)"
  `)
  expect(layout('hex(nonce ct)')).toMatchInlineSnapshot(`
    "layout, line 1, column 11: nonce and ct stand next to each other and neither has a length, so nobody can tell where nonce ends
      hex(nonce ct)
                ^^
    give one of them its length, e.g. tag:16, or put the delimiter that the value has behind nonce"
  `)
  expect(layout('ct lp16(keyid)')).toMatchInlineSnapshot(`
    "layout, line 1, column 4: ct and lp16(keyid) stand next to each other and neither has a length, so nobody can tell where ct ends
      ct lp16(keyid)
         ^^^^^^^^^^^
    give one of them its length, e.g. tag:16, or put the delimiter that the value has behind ct"
  `)
})

test('points at the part that could contain the delimiter behind it', () => {
  expect(layout('nonce:12 ":" ct ":" hex(tag)')).toMatchInlineSnapshot(`
    "layout, line 1, column 14: ct can itself hold the bytes of ":", so nobody can tell where it ends
      nonce:12 ":" ct ":" hex(tag)
                   ^^
    give it its length, e.g. ct:32, or the encoding that it has: hex(…), or utf8(…) for a text without ":""
  `)
  expect(layout('base64(ct) "=" hex(tag)')).toMatchInlineSnapshot(`
    "layout, line 1, column 1: base64(ct) can itself hold the bytes of "=", so nobody can tell where it ends
      base64(ct) "=" hex(tag)
      ^^^^^^^^^^
    give it its length, e.g. ct:32, or the encoding that it has: hex(…), or utf8(…) for a text without "=""
  `)
})

test('names the word that was meant', () => {
  expect(layout('iv:12 ct tag:16')).toMatchInlineSnapshot(`
    "layout, line 1, column 1: a part named iv is not known
      iv:12 ct tag:16
      ^^
    write nonce"
  `)
  expect(layout('nonce:12 dek.cipertext tag:16')).toMatchInlineSnapshot(`
    "layout, line 1, column 10: a part named dek.cipertext is not known
      nonce:12 dek.cipertext tag:16
               ^^^^^^^^^^^^^
    write dek.ct"
  `)
  expect(layout('b64(ct)')).toMatchInlineSnapshot(`
    "layout, line 1, column 1: a function named b64 is not known
      b64(ct)
      ^^^
    write base64"
  `)
  expect(layout('base64ulr(ct)')).toMatchInlineSnapshot(`
    "layout, line 1, column 1: a function named base64ulr is not known
      base64ulr(ct)
      ^^^^^^^^^
    write base64url"
  `)
  expect(layout('organisation')).toMatchInlineSnapshot(`
    "layout, line 1, column 1: a part named organisation is not known
      organisation
      ^^^^^^^^^^^^
    write nonce, ct, tag, mac, salt, version, keyid, time, iterations, skip, a column {organisation}, or text "organisation""
  `)
  expect(layout('rot13(ct)')).toMatchInlineSnapshot(`
    "layout, line 1, column 1: a function named rot13 is not known
      rot13(ct)
      ^^^^^
    write base64, base64nopad, base64url, base64urlpad, hex, hexupper, utf8, u8, u16be, u32be, u64be, u16le, u32le, u64le, uvarint, dec, lp8, lp16, lp32, lp16le, lp32le, lpv, lines, wrap, uuid, json, number, proto, varint"
  `)
})

test('explains the grammar where it is broken', () => {
  expect(layout('')).toMatchInlineSnapshot(`
    "layout, line 1, column 1: the layout has nothing in it
    write what the bytes consist of, e.g. nonce:12 ct tag:16"
  `)
  expect(layout('hex(nonce:12) : hex(ct)')).toMatchInlineSnapshot(`
    "layout, line 1, column 15: ":" does not belong here
      hex(nonce:12) : hex(ct)
                    ^
    put bytes into quotes: ":""
  `)
  expect(layout('nonce : ct')).toMatchInlineSnapshot(`
    "layout, line 1, column 7: after a colon comes a length in bytes
      nonce : ct
            ^
    a colon that stands in the value goes into quotes: ":""
  `)
  expect(layout('hex(ct')).toMatchInlineSnapshot(`
    "layout, line 1, column 1: hex( is not closed
      hex(ct
      ^^^
    write ) behind its last argument"
  `)
  expect(layout('hex(ct))')).toMatchInlineSnapshot(`
    "layout, line 1, column 8: ")" does not belong here
      hex(ct))
             ^
    leave it out or open it before"
  `)
  expect(layout('hex(ct, tag:16)')).toMatchInlineSnapshot(`
    "layout, line 1, column 9: hex takes one argument
      hex(ct, tag:16)
              ^^^^^^
    separate items by spaces, not by commas"
  `)
  expect(layout('hex()')).toMatchInlineSnapshot(`
    "layout, line 1, column 1: hex has nothing in it
      hex()
      ^^^^^
    write what it encodes, e.g. hex(ct)"
  `)
  expect(layout('hex')).toMatchInlineSnapshot(`
    "layout, line 1, column 1: a part named hex is not known
      hex
      ^^^
    hex is a function: write what it encodes, e.g. hex(ct)"
  `)
  expect(layout('ct(32)')).toMatchInlineSnapshot(`
    "layout, line 1, column 1: a function named ct is not known
      ct(32)
      ^^
    ct is a part: write ct, or ct:16 with its length in bytes"
  `)
  expect(layout('(ct)')).toMatchInlineSnapshot(`
    "layout, line 1, column 1: "(" does not belong here
      (ct)
      ^
    put the name of a function before it, e.g. hex(…)"
  `)
  expect(layout('hex(info=ct)')).toMatchInlineSnapshot(`
    "layout, line 1, column 5: hex has no argument by this name
      hex(info=ct)
          ^^^^^^^
    write what it encodes, without a name"
  `)
  expect(layout('nonce:0 ct')).toMatchInlineSnapshot(`
    "layout, line 1, column 7: this length is not possible
      nonce:0 ct
            ^
    write a length of 1 byte or more"
  `)
  expect(layout('nonce:12bytes ct')).toMatchInlineSnapshot(`
    "layout, line 1, column 7: this is no part, literal, column or function
      nonce:12bytes ct
            ^^^^^^^
    put bytes that stand in the value as they are into quotes, like ":" or "enc:v1:""
  `)
  expect(layout('0x1 ct')).toMatchInlineSnapshot(`
    "layout, line 1, column 1: a hex literal is 0x and two hex digits for each byte
      0x1 ct
      ^^^
    write it like 0x01 or 0x00ff"
  `)
  expect(layout('"enc ct')).toMatchInlineSnapshot(`
    "layout, line 1, column 1: this text has no closing quote
      "enc ct
      ^^^^^^^
    end the text with " on the same line"
  `)
  expect(layout('"\\d" ct')).toMatchInlineSnapshot(`
    "layout, line 1, column 2: this escape is not known
      "\\d" ct
       ^^
    write \\n, \\r, \\t, \\", \\\\ or \\xHH with two hex digits"
  `)
  expect(layout('"" ct')).toMatchInlineSnapshot(`
    "layout, line 1, column 1: this literal is empty
      "" ct
      ^^
    leave it out"
  `)
  expect(layout('§ ct')).toMatchInlineSnapshot(`
    "layout, line 1, column 1: this is no part, literal, column or function
      § ct
      ^
    put bytes that stand in the value as they are into quotes, like ":" or "enc:v1:""
  `)
  expect(layout('99999999999999999999999')).toMatchInlineSnapshot(`
    "layout, line 1, column 1: this number has more than 20 digits
      99999999999999999999999
      ^^^^^^^^^^^^^^^^^^^^^^^
    write a number below 2^64"
  `)
})

test('explains what a layout can not mean', () => {
  expect(layout('nonce:12 ct ct')).toMatchInlineSnapshot(`
    "layout, line 1, column 13: ct stands here a second time
      nonce:12 ct ct
                  ^^
    a value has each part once; bytes that are not needed are skip"
  `)
  expect(layout('{org} ct')).toMatchInlineSnapshot(`
    "layout, line 1, column 1: a layout describes the bytes of one value, and a column is another one
      {org} ct
      ^^^^^
    put columns into aad; a value in several columns has a layout for each"
  `)
  expect(layout('12 ct')).toMatchInlineSnapshot(`
    "layout, line 1, column 1: a number alone is no bytes
      12 ct
      ^^
    write "12" for its digits, or u8(12)"
  `)
  expect(layout('u8(version:1) ct')).toMatchInlineSnapshot(`
    "layout, line 1, column 4: u8 says the length already
      u8(version:1) ct
         ^^^^^^^^^
    write u8(version)"
  `)
  expect(layout('u8(version keyid) ct')).toMatchInlineSnapshot(`
    "layout, line 1, column 12: u8 takes one part, column or number
      u8(version keyid) ct
                 ^^^^^
    give each its own, e.g. u8(version) u8(keyid)"
  `)
  expect(layout('u8("1") ct')).toMatchInlineSnapshot(`
    "layout, line 1, column 4: u8 takes a part, column or number
      u8("1") ct
         ^^^
    write e.g. u8(version)"
  `)
  expect(layout('u8(256) ct')).toMatchInlineSnapshot(`
    "layout, line 1, column 4: the number is too large for the 1 byte of u8(256)
      u8(256) ct
         ^^^
    write the bytes as a literal, e.g. 0x01"
  `)
  expect(layout('uuid(1) ct')).toMatchInlineSnapshot(`
    "layout, line 1, column 6: the number is not a UUID
      uuid(1) ct
           ^
    write the bytes as a literal, e.g. 0x01"
  `)
  expect(layout('number(version) ct')).toMatchInlineSnapshot(`
    "layout, line 1, column 1: number stands as a member of an object only
      number(version) ct
      ^^^^^^^^^^^^^^^
    write json({"member": number(version), ...})"
  `)
  expect(layout('{"a": ct}')).toMatchInlineSnapshot(`
    "layout, line 1, column 1: an object of JSON stands inside json(…)
      {"a": ct}
      ^^^^^^^^^
    write json({"member": …, ...})"
  `)
  expect(layout('json(ct)')).toMatchInlineSnapshot(`
    "layout, line 1, column 6: json takes one object or array
      json(ct)
           ^^
    write json({"member": …, ...})"
  `)
  expect(layout('json({"a": ct, "a": tag:16})')).toMatchInlineSnapshot(`
    "layout, line 1, column 16: this member stands here a second time
      json({"a": ct, "a": tag:16})
                     ^^^^^^^^^^^
    an object has each member once"
  `)
  expect(layout('json({"a": ct "b": tag:16})')).toMatchInlineSnapshot(`
    "layout, line 1, column 15: a comma is missing between two members
      json({"a": ct "b": tag:16})
                    ^^^
    separate members by commas: {"a": …, "b": …}"
  `)
  expect(layout('json({a: ct})')).toMatchInlineSnapshot(`
    "layout, line 1, column 7: a member begins with its name in quotes
      json({a: ct})
            ^
    write members as {"name": base64(ct), ...}"
  `)
  expect(layout('json({"a" ct})')).toMatchInlineSnapshot(`
    "layout, line 1, column 11: a colon is missing behind the name of this member
      json({"a" ct})
                ^^
    write members as {"name": base64(ct), ...}"
  `)
  expect(layout('json({"a": })')).toMatchInlineSnapshot(`
    "layout, line 1, column 12: this member has nothing in it
      json({"a": })
                 ^
    write what the bytes consist of, e.g. nonce:12 ct tag:16"
  `)
  expect(layout('json({..., "a": ct})')).toMatchInlineSnapshot(`
    "layout, line 1, column 12: nothing follows the ...
      json({..., "a": ct})
                 ^^^
    put ... at the end of the object"
  `)
  expect(layout('json({"a": ct')).toMatchInlineSnapshot(`
    "layout, line 1, column 6: this object is not closed
      json({"a": ct
           ^
    write } behind its last member"
  `)
})

test('explains what an array and a function of keys can not mean here', () => {
  expect(layout('[ct]')).toMatchInlineSnapshot(`
    "layout, line 1, column 1: an array of JSON stands inside json(…)
      [ct]
      ^^^^
    write json({"member": …, ...})"
  `)
  expect(layout('json([ct')).toMatchInlineSnapshot(`
    "layout, line 1, column 6: this array is not closed
      json([ct
           ^
    write ] behind its last element"
  `)
  expect(layout('json([hex(ct) hex(nonce:2), ..., ct])')).toMatchInlineSnapshot(`
    "layout, line 1, column 34: nothing follows the ...
      json([hex(ct) hex(nonce:2), ..., ct])
                                       ^^
    put ... at the end of the array"
  `)
  expect(layout('json([hex(ct): 2])')).toMatchInlineSnapshot(`
    "layout, line 1, column 14: a comma is missing between two elements
      json([hex(ct): 2])
                   ^
    separate elements by commas: […, …]"
  `)
  expect(layout('hex(ct)]')).toMatchInlineSnapshot(`
    "layout, line 1, column 8: "]" does not belong here
      hex(ct)]
             ^
    leave it out or open it before"
  `)
  expect(layout('sha256(ct)')).toMatchInlineSnapshot(`
    "layout, line 1, column 1: sha256 makes bytes that can't be read back, so a layout can't have it
      sha256(ct)
      ^^^^^^
    keys are made in derive, what is authenticated in aad"
  `)
  expect(layout('key')).toMatchInlineSnapshot(`
    "layout, line 1, column 1: a part named key is not known
      key
      ^^^
    write nonce, ct, tag, mac, salt, version, keyid, time, iterations, skip, a column {key}, or text "key""
  `)
  expect(template('json([{b}, ...])')).toMatchInlineSnapshot(`
    "template, line 1, column 6: a template writes the members that are named and no others
      json([{b}, ...])
           ^^^^^^^^^^
    leave the ... out"
  `)
  expect(template('sha256({org}, {id})')).toMatchInlineSnapshot(`
    "template, line 1, column 15: sha256 has no place for this argument
      sha256({org}, {id})
                    ^^^^
    write sha256(data), and spaces between items that follow each other"
  `)
  expect(template('hkdf-sha256(info="x")')).toMatchInlineSnapshot(`
    "template, line 1, column 1: hkdf-sha256 lacks its data
      hkdf-sha256(info="x")
      ^^^^^^^^^^^
    write hkdf-sha256(data, salt=…, info=…, length=…)"
  `)
})

test('explains what a template can not mean', () => {
  expect(template('skip:4 {org}')).toMatchInlineSnapshot(`
    "template, line 1, column 1: skip has no value
      skip:4 {org}
      ^^^^^^
    name a part, or write the bytes as a literal"
  `)
  expect(template('{org')).toMatchInlineSnapshot(`
    "template, line 1, column 1: this column is not closed
      {org
      ^
    write a column as {name} or {"a name"}, its new value as {name'}"
  `)
  expect(template('json({"a": {b}, ...})')).toMatchInlineSnapshot(`
    "template, line 1, column 6: a template writes the members that are named and no others
      json({"a": {b}, ...})
           ^^^^^^^^^^^^^^^
    leave the ... out"
  `)
})

test('shows the line of several that is wrong, and no control characters of it', () => {
  expect(layout('"enc:"\n  hex(nonce:12)\n  hex(ct) hex(mac)\n')).toMatchInlineSnapshot(`
    "layout, line 3, column 11: hex(ct) and hex(mac) stand next to each other and neither has a length, so nobody can tell where hex(ct) ends
        hex(ct) hex(mac)
                ^^^^^^^^
    give one of them its length, e.g. tag:16, or put the delimiter that the value has behind hex(ct)"
  `)
  expect(layout('"ü🔑"\tiv:12 "\u001b[31m"')).toMatchInlineSnapshot(`
    "layout, line 1, column 7: a part named iv is not known
      "ü🔑" iv:12 "�[31m"
           ^^
    write nonce"
  `)
})

test('refuses nesting and sources without end', () => {
  expect(layout('hex('.repeat(30) + 'ct' + ')'.repeat(30))).toMatchInlineSnapshot(`
    "layout, line 1, column 97: this is nested more than 24 levels deep
      …hex(hex(hex(hex(hex(hex(hex(hex(hex(hex(hex(hex(hex(hex(hex(hex(hex(hex(hex(hex(hex(hex(ct))))))))))))))))))))))))))))))
                                                                       ^^^
    nest less"
  `)
  expect(layout(`json(${'{"a":'.repeat(30)}1${'}'.repeat(30)})`)).toMatch(/nested more than 24 levels deep/)
  expect(layout(' '.repeat(20_000))).toMatch(/longer than 16384 characters/)
  expect(layout('hex('.repeat(4000))).toMatch(/nested more than 24 levels deep/)
})
