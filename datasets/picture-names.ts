/** Endings of names that pictures have, as browsers, phones and Windows give them. What a file holds, its first bytes say. */
export const PICTURE_NAME =
  /(?:^|\.)(?:jpe?g|jpe|jfif|pjpeg|pjp|jpg_large|png|apng|webp|gif|tiff?|bmp|dib|avif|hei[cf])$/i;
