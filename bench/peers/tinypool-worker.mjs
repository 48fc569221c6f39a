// Gets a task's name and argument, and returns its result.
import * as tasks from './tasks.mjs';

export default ([task, argument]) => tasks[task](argument);
