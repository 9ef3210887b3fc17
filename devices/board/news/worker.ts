import { workerInput } from '../../../platform/thread.ts';
import type { NewsInput } from './protocol.ts';
import { watchNews } from './watch.ts';

watchNews(workerInput<NewsInput>());
