// A task's name and argument come; its result goes.
import * as tasks from './tasks.mjs';

export default ([task, argument]) => tasks[task](argument);
