// verdict.mjs REPORT...: what failed in vitest's reports, with the first lines of its reason, and as the last line the counts.
import { existsSync, readFileSync } from 'node:fs';

const LINES = 8;

const reports = process.argv
  .slice(2)
  .filter((path) => existsSync(path))
  .map((path) => JSON.parse(readFileSync(path, 'utf8')));
if (reports.length === 0) process.exit(1);

const begin = (text) => text.split('\n').slice(0, LINES).join('\n  ');

for (const { name, status, message, assertionResults } of reports.flatMap((report) => report.testResults)) {
  const failed = assertionResults.filter((test) => test.status === 'failed');
  for (const { fullName, failureMessages } of failed) {
    console.log(`FAILED ${name}: ${fullName}\n  ${begin(failureMessages.join('\n'))}`);
  }
  // a hook has failed, or the file could not be loaded
  if (status === 'failed' && (failed.length === 0 || message)) {
    console.log(`FAILED ${name}\n  ${begin(message || 'a hook inside describe(), see "Failed Suites" above')}`);
  }
}

const sum = (key) => reports.reduce((total, report) => total + report[key], 0);
console.log(`${sum('numPassedTests')} passed, ${sum('numFailedTests')} failed`);
