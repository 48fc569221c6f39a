// The tasks of the workers of the peers on Node.
const MASK = 0x5a5a5a5a;

function weight(k) {
  if (k >= 1700 && k < 1800 && k % 25 === 0) return 300;
  if (k >= 1200 && k < 1260) return 30;
  return 1 + (3 * k) / 2000;
}

export const square = (x) => x * x;

export function flip(words) {
  const out = new Uint32Array(words.length);
  for (let i = 0; i < words.length; i++) out[i] = words[i] ^ MASK;
  return out;
}

export function toil([k, steps]) {
  let x = k + 1;
  for (let left = Math.floor(weight(k) * steps); left > 0; left--) x = (x * 16807) % 2147483647;
  return x;
}
