/** Kinds of picture that are read. */
export type PictureFormat = 'jpeg' | 'png' | 'webp' | 'gif' | 'tiff' | 'avif' | 'bmp';

/** What is read, for messages. */
const READ = 'JPEG, PNG, WebP, GIF, TIFF, AVIF and BMP are read';

/** First bytes of the formats that are read; the decoder never sees anything else. */
const SIGNATURES: ReadonlyArray<readonly [PictureFormat, at: number, bytes: string]> = [
  ['jpeg', 0, '\xff\xd8\xff'],
  ['png', 0, '\x89PNG\r\n\x1a\n'],
  ['webp', 8, 'WEBP'],
  ['gif', 0, 'GIF87a'],
  ['gif', 0, 'GIF89a'],
  ['tiff', 0, 'II*\0'],
  ['tiff', 0, 'MM\0*'],
  ['bmp', 0, 'BM'],
];

/** By the first bytes, whatever the name; null for what is not read. */
export function formatOf(bytes: Uint8Array): PictureFormat | null {
  const found = SIGNATURES.find(([, at, magic]) => latin1(bytes, at, at + magic.length) === magic);
  if (found) return found[0];
  const brands = brandsOf(bytes);
  // A sequence (avis) is no single picture, and HEVC pictures are not decoded here.
  return brands?.[0] !== 'avis' && brands?.includes('avif') ? 'avif' : null;
}

/** The brands of an ISO media file, its own first; null for another kind of file. */
function brandsOf(bytes: Uint8Array): string[] | null {
  if (bytes.length < 16 || latin1(bytes, 4, 8) !== 'ftyp') return null;
  const length = Math.min(new DataView(bytes.buffer, bytes.byteOffset).getUint32(0), 256, bytes.length);
  const brands = latin1(bytes, 8, length).match(/[\s\S]{4}/g) ?? [];
  return [brands[0] ?? '', ...brands.slice(2)];
}

/** Other kinds of file by how they begin, in lower case. */
const OTHERS: ReadonlyArray<readonly [RegExp, what: string]> = [
  [
    /^version https:\/\/git-lfs/,
    'a Git LFS pointer, not the image itself. Run `git lfs pull` where it was cloned, and copy it again.',
  ],
  [
    /^<(?:!doctype html|html|head|body)|^<!--[\s\S]*<html/,
    'a web page (HTML), not an image: the download failed. Fetch the image itself.',
  ],
  [/^\s*[{[]/, 'JSON text, not an image: the download failed. Fetch the image itself.'],
];

/** What else has a name, by its first bytes in lower case. */
const NAMED: ReadonlyArray<readonly [start: string, name: string]> = [
  ['<svg', 'SVG'],
  ['<?xml', 'XML'],
  ['%pdf', 'PDF'],
  ['ii+\0', 'BigTIFF'],
  ['mm\0+', 'BigTIFF'],
  ['8bps', 'Photoshop'],
  ['\0\0\x01\0', 'Windows icon'],
  ['\0\0\0\x0cjp  ', 'JPEG 2000'],
  ['\0\0\0\x0cjxl ', 'JPEG XL'],
  ['\xff\x0a', 'JPEG XL'],
  ['#?radiance', 'Radiance HDR'],
  ['pk\x03\x04', 'ZIP'],
  ['\x1f\x8b', 'gzip'],
  ['\x93numpy', 'NumPy'],
];

/** What a file that is no readable picture is, and what to do. */
export function formatProblem(bytes: Uint8Array): string {
  const start = latin1(bytes, 0, 512).toLowerCase();
  if (bytes.subarray(0, 512).every((byte) => byte === 0))
    return 'holds zeros only, not an image: it was not copied to its end. Copy it again.';
  const text = start.trimStart();
  const other = OTHERS.find(([magic]) => magic.test(text));
  if (other) return other[1];
  const brands = brandsOf(bytes);
  if (brands?.[0] === 'avis') return 'an AVIF sequence (a film). Save its first picture as AVIF or PNG.';
  if (brands?.some((brand) => /^(?:hei|hev|mif1|msf1)/.test(brand)))
    return 'a HEIC picture, as phones save them: its codec (HEVC) is not decoded here. Convert it to JPEG, for example with `heif-convert in.heic out.jpg`.';
  if (brands) return `a film (MP4 or the like), not an image. ${READ}: take a picture out of it.`;
  const isSvg = text.startsWith('<?xml') && text.includes('<svg');
  const name = isSvg ? 'SVG' : NAMED.find(([magic]) => start.startsWith(magic) || text.startsWith(magic))?.[1];
  return `${name ? `a ${name} file` : 'an unknown kind of file'}. ${READ}: convert it.`;
}

function latin1(bytes: Uint8Array, from: number, to: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1', from, to);
}
