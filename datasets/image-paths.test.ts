import { expect, it } from 'vitest';
import { ImagePaths } from './image-paths.ts';

const paths = (files: readonly string[], root?: string) =>
  new ImagePaths(new Map(files.map((file) => [file, 0])), root);

it('a path counts from the folder of images, else from dataset.json', () => {
  const found = paths(['images/a/1.png', 'a/1.png', 'b.png'], 'images');
  expect(['a/1.png', 'b.png', 'c.png'].map((path) => found.find(path))).toEqual(['images/a/1.png', 'b.png', null]);
});

it('letters with marks are found in either Unicode form, unless two files differ in it alone', () => {
  const [composed, apart] = ['caf\u00e9/1.png', 'cafe\u0301/1.png'];
  expect(paths([apart]).find(composed)).toBe(apart);
  expect(paths([composed]).find(apart)).toBe(composed);
  expect(paths([composed, apart]).find(apart)).toBe(apart);
  expect(paths([`x/${apart}`], 'x').find(composed)).toBe(`x/${apart}`);
  expect(paths(['\uac00.png']).find('\u1100\u1161.png')).toBe('\uac00.png');
});

it.each([
  [
    ['images/coco/1.jpg', 'x.jpg'],
    'coco/1.jpg',
    /but "images\/coco\/1\.jpg" is: write "images": "images" into dataset\.json \(`lilora manifest --images images`\)/,
  ],
  [
    ['a/coco/1.jpg', 'b/coco/1.jpg'],
    'coco/1.jpg',
    /but 2 files end with it, such as "a\/coco\/1\.jpg": say which folder is meant as "images"/,
  ],
  [['images/IMG_1.JPG'], 'photos/img_1.jpg', /is "images\/IMG_1\.JPG" meant\? Correct the path/],
  [['images/a b.jpg'], 'images/a%20b.jpg', /is "images\/a b\.jpg" meant\? Correct the path/],
  [['images/2.jpg'], '1.jpg', /image "1\.jpg" is not in "files" of dataset\.json; put the file there and list it/],
])('of %j, %s: what helps', (files, path, message) => expect(paths(files).problem(path)).toMatch(message));

it('does not look through all files for every path', () => {
  let looks = 0;
  const files = new Map([['a/1.png', 0]]);
  const keys = () => {
    looks++;
    return files.keys();
  };
  const counted = { has: (path: string) => files.has(path), keys };
  const found = new ImagePaths(counted);
  for (let i = 0; i < 1000; i++) found.problem(`${i}.png`);
  expect(looks).toBe(20);
});
