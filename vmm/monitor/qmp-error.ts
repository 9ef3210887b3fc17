/** An error that is sent to a monitor client. */
export class QmpError extends Error {
  readonly class: 'GenericError' | 'CommandNotFound';

  constructor(message: string, errorClass: 'GenericError' | 'CommandNotFound' = 'GenericError') {
    super(message);
    this.class = errorClass;
  }
}
