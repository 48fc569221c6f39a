// Registers the tasks with workerpool.
import workerpool from 'workerpool';
import { flip, square, toil } from './tasks.mjs';

workerpool.worker({ flip, square, toil });
