/** An error that a monitor client is told. */
export class QmpError extends Error {
  readonly class: 'GenericError' | 'CommandNotFound';

  constructor(message: string, errorClass: 'GenericError' | 'CommandNotFound' = 'GenericError') {
    super(message);
    this.class = errorClass;
  }
}
