// Node: workerpool, with processes.
import workerpool from 'workerpool';
import { fileURLToPath } from 'node:url';
import { runPool } from './peer.mjs';

await runPool('node:workerpool', (workers) => {
  const pool = workerpool.pool(fileURLToPath(new URL('./workerpool-worker.mjs', import.meta.url)), {
    minWorkers: workers,
    maxWorkers: workers,
    workerType: 'process',
    forkOpts: { serialization: 'advanced' },
  });
  return { run: (task, argument) => pool.exec(task, [argument]), close: () => pool.terminate() };
});
process.exit(0);
