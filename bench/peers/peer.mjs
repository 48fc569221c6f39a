// What the peers on Node share: node PEER.mjs WORKLOAD [NAME=NUMBER ...], names as in peer.py.
// A peer gives its name and a function that opens a pool of so many workers: {run(task, argument), close()}.
import { toil } from './tasks.mjs';

const BLOCKS = 8;
const MASK = 0x5a5a5a5a;
const [workload, ...words] = process.argv.slice(2);
const numbers = Object.fromEntries(words.map((word) => word.split('=')));
const number = (name, usual) => Number(numbers[name] ?? usual);
const now = () => Number(process.hrtime.bigint());

function check(right, what) {
  if (!right) throw new Error(what);
}

async function measure(once, calls, warmUps = 1) {
  const times = [];
  for (let i = 0; i < warmUps; i++) await once();
  for (let i = 0; i < calls; i++) {
    const begin = now();
    await once();
    times.push(now() - begin);
  }
  return times.sort((a, b) => a - b);
}

// Node does not report the CPU time of its children.
function emit(peer, items, times, more = {}) {
  const own = process.resourceUsage();
  const median = times[times.length >> 1];
  console.log(JSON.stringify({
    peer, workload, n: items * times.length, seconds: times.reduce((a, b) => a + b) / 1e9,
    per_item_ns: median / items, cpu_seconds: (own.userCPUTime + own.systemCPUTime) / 1e6, peak_rss_kb: own.maxRSS,
    p50_ns: median, p99_ns: times[Math.floor(times.length * 0.99)], ...more,
  }));
}

const runAll = (pool, task, all) => Promise.all(all.map((argument) => pool.run(task, argument)));

async function mapSquares(peer, pool) {
  const all = Array.from({ length: number('count', 10000) }, (_, i) => i * 0.5);
  await runAll(pool, 'square', all.slice(0, 100));
  const once = async () => {
    const out = await runAll(pool, 'square', all);
    check(out.every((y, i) => y === all[i] * all[i]), 'a square is wrong');
  };
  emit(peer, all.length, await measure(once, number('calls', 1)));
}

async function callSquares(peer, pool) {
  const once = async () => check((await pool.run('square', 3)) === 9, 'an answer is wrong');
  emit(peer, 1, await measure(once, number('calls', 2000), 200));
}

// Four blocks are under way at a time.
async function flipBlocks(peer, pool) {
  const length = number('bytes', 16 << 20) / 4;
  const blocks = Array.from({ length: BLOCKS }, (_, i) => new Uint32Array(length).fill(i));
  const count = number('count', 16);
  const once = async () => {
    let next = 0;
    const lane = async () => {
      while (next < count) {
        const i = next++ % BLOCKS;
        const out = await pool.run('flip', blocks[i]);
        check(((out[7] ^ MASK) >>> 0) === i, 'a word is wrong');
      }
    };
    await Promise.all([lane(), lane(), lane(), lane()]);
  };
  emit(peer, count, await measure(once, number('calls', 1)));
}

async function shareToil(peer, pool) {
  const jobs = Array.from({ length: 2000 }, (_, k) => [k, number('steps', 5500)]);
  const alone = () => measure(async () => jobs.map(toil), 1, 0);
  const expected = jobs.map(toil);
  const [before] = await alone();
  await runAll(pool, 'square', [1, 2, 3, 4]);
  const once = async () => {
    const out = await runAll(pool, 'toil', jobs);
    check(out.every((x, k) => x === expected[k]), 'a number is wrong');
  };
  const times = await measure(once, number('calls', 1), 0);
  const [after] = await alone();
  const serial = (before + after) / 2;
  emit(peer, jobs.length, times, { serial_s: serial / 1e9, efficiency: serial / (2 * times[times.length >> 1]) });
}

async function openAndClose(peer, open) {
  const once = async () => {
    const pool = open(2);
    check((await pool.run('square', 3)) === 9, 'an answer is wrong');
    await pool.close();
  };
  emit(peer, 1, await measure(once, number('calls', 5)));
}

export async function runPool(peer, open) {
  if (workload === 'w8') return openAndClose(peer, open);
  const workloads = { w2c1: mapSquares, w3: callSquares, w4: flipBlocks, w5: shareToil };
  const pool = open(workload === 'w3' ? 1 : 2);
  await workloads[workload](peer, pool);
  return pool.close();
}
