//! A server of the test's own, whatever its kind.

/// What a test does to a server of a store.
pub(super) trait Server {
    /// As people call it.
    fn name(&self) -> &'static str;

    /// Where it listens on 127.0.0.1.
    fn port(&self) -> u16;

    /// Starts it, and waits until it answers.
    fn begin(&self);

    /// Stops it as an administrator does, with whoever is connected.
    fn stop(&self);

    /// Kills it: it flushes nothing.
    fn kill(&self);

    /// Ends every connection of ours, and answers how many there were.
    fn end_connections(&self) -> u32;

    /// More than so many are ended when that is done so often.
    fn least_ended(&self, often: u32) -> u32;

    /// Ends every connection of ours and takes no other, until what it answers is called.
    fn lets_nobody_in(&self) -> Box<dyn FnOnce() + '_>;

    /// Leaves a stranger's transaction open, until what it answers is called; none where there are none.
    fn leaves_a_transaction_open(&self) -> Option<Box<dyn FnOnce() + '_>> {
        None
    }

    /// As `--store` takes it, by way of that port.
    fn url(&self, port: u16) -> String;
}
