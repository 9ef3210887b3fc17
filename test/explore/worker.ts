/**
 * An actor's thread. It takes assignments, and for each it runs the actor's body once per execution
 * until it is told to leave.
 */
import { parentPort } from 'node:worker_threads';
import { Actor } from './actor.ts';
import type { ActorAssignment, ActorReply } from './control.ts';

const reply = (message: ActorReply): void => parentPort!.postMessage(message);

parentPort!.on('message', (assignment: ActorAssignment) => {
  let actor: Actor;
  try {
    actor = new Actor(assignment);
  } catch (error) {
    reply({ error: String(error instanceof Error ? error.stack : error) });
    return;
  }
  reply({});
  actor.serve();
  reply({});
});
