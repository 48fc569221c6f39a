// Node: tinypool, with processes.
import Tinypool from 'tinypool';
import { runPool } from './peer.mjs';

await runPool('node:tinypool', (workers) => {
  const pool = new Tinypool({
    filename: new URL('./tinypool-worker.mjs', import.meta.url).href,
    runtime: 'child_process',
    serialization: 'advanced',
    minThreads: workers,
    maxThreads: workers,
  });
  return { run: (task, argument) => pool.run([task, argument]), close: () => pool.destroy() };
});
process.exit(0);
