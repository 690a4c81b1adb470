//! The table of codes: in.php / res.php's own, its relatives', and ours.
//!
//! Sources: the vendor's documentation, its official client and its blog, and the documentation of
//! neighbouring services; where they disagree the reading is the one that costs the user least.

use super::codes::{Code, OnPoll};
use deadletter_core::Class;

/// One row: `CODE class, class on a poll, wait in ms: meaning; advice`.
macro_rules! table {
    (@poll NotReady) => { OnPoll::NotReady };
    (@poll $class:ident) => { OnPoll::Is(Class::$class) };
    (@wait none) => { None };
    (@wait $ms:literal) => { Some($ms) };
    ($($code:literal $submit:ident $poll:ident $wait:tt: $meaning:literal; $advice:literal;)+) => {
        pub(super) const TABLE: &[Code] = &[$(Code {
            code: $code,
            on_submit: Class::$submit,
            on_poll: table!(@poll $poll),
            retry_after_ms: table!(@wait $wait),
            meaning: $meaning,
            advice: $advice,
        },)+];
    };
}

table! {
    // The account. Repeated bad keys get the address banned: all traffic of the key stops.
    "ERROR_WRONG_USER_KEY" Account Account none:
        "Upstream does not accept the form of the account's key.";
        "Check the key: it has 32 characters, without spaces or quotes.";
    "ERROR_KEY_DOES_NOT_EXIST" Account Account none:
        "Upstream does not know the account's key, or the key has no plan.";
        "Check the key, and that its plan is paid; then start the account again.";
    "ERROR_IP_NOT_ALLOWED" Account Account none:
        "The account does not allow this address.";
        "Add this machine's address to the account's list, or empty that list.";
    "ERROR_ACCOUNT_SUSPENDED" Account Account none:
        "Upstream has suspended the account.";
        "Ask upstream's support.";
    "IP_BANNED" Account Account 300000:
        "Upstream has banned this address, usually for many wrong keys; it lifts after 5 minutes.";
        "Look for a program with a wrong key behind the same address; accepted tasks stay valid.";
    "ERROR_IP_BANNED" Account Account 300000:
        "Upstream has banned this address, usually for many wrong keys; it lifts after 5 minutes.";
        "Look for a program with a wrong key behind the same address; accepted tasks stay valid.";

    // Capacity. Nothing is spent.
    "ERROR_ZERO_BALANCE" Capacity Capacity none:
        "No thread is free; or, where the account has no plan or money, there is none at all.";
        "If it lasts, look at the account's threads: they may be used elsewhere, or the plan ended.";
    "ERROR_NO_SLOT_AVAILABLE" Capacity Capacity 5000:
        "Upstream has no free worker for this task now.";
        "Nothing; if it lasts for minutes, use fewer threads.";
    "MAX_USER_TURN" Capacity Capacity 10000:
        "Too many requests of this account within 3 seconds.";
        "Nothing; if it lasts, use fewer threads.";
    "ERROR_TOO_MUCH_REQUESTS" Capacity Capacity 5000:
        "Too many requests in a short time.";
        "Nothing; if it lasts, look for other programs that use the same key.";
    "HTTP_429" Capacity Capacity 5000:
        "Too many requests in a short time, said by HTTP status 429.";
        "Nothing; if it lasts, look for other programs that use the same key.";
    "ERROR:1001" Capacity Capacity 600000:
        "Blocked for 10 minutes, after many requests without a free slot in one minute.";
        "Use fewer threads.";
    "ERROR:1002" Account Account 300000:
        "Blocked for 5 minutes, after many requests without balance in one minute.";
        "Look at the account's balance or plan.";
    "ERROR:1003" Capacity Capacity 30000:
        "Blocked for 30 seconds: upstream's queue is full.";
        "Nothing; if it lasts, use fewer threads.";
    "ERROR:1004" Account Account 600000:
        "This address is blocked for 10 minutes.";
        "Look for a program with a wrong key behind the same address.";
    "ERROR:1005" Capacity Capacity 300000:
        "Blocked for 5 minutes, for too many requests.";
        "Look for other programs that use the same key.";

    // The request itself.
    "ERROR_PAGEURL" Permanent Permanent none:
        "The page's address is missing or not an address.";
        "Give `pageurl` in full, with https://.";
    "ERROR_GOOGLEKEY" Permanent Permanent none:
        "The site key is missing or malformed.";
        "Give `googlekey` as it stands in the page (`data-sitekey`).";
    "ERROR_WRONG_GOOGLEKEY" Permanent Permanent none:
        "The site key is not one that the captcha's maker knows.";
        "Read `googlekey` from the page again; it may have changed.";
    "ERROR_SITEKEY" Permanent Permanent none:
        "The site key is missing or malformed.";
        "Give `sitekey` as it stands in the page.";
    "ERROR_BAD_TOKEN_OR_PAGEURL" Permanent Permanent none:
        "The site key does not belong to this page.";
        "Check the pair: the page may show the captcha in a frame with another address.";
    "ERROR_BAD_PARAMETERS" Permanent Permanent none:
        "A parameter that this method requires is missing or wrong.";
        "Compare the task's parameters with upstream's documentation of its method.";
    "ERROR_ZERO_CAPTCHA_FILESIZE" Permanent Permanent none:
        "The image has fewer than 100 bytes.";
        "Check what was downloaded: often an error page or an empty file.";
    "ERROR_TOO_BIG_CAPTCHA_FILESIZE" Permanent Permanent none:
        "The image is larger than upstream takes.";
        "Send a smaller or more compressed image.";
    "ERROR_IMAGE_DIMENSIONS_TOO_LARGE" Permanent Permanent none:
        "The image has more pixels than upstream takes.";
        "Scale the image down.";
    "ERROR_WRONG_FILE_EXTENSION" Permanent Permanent none:
        "The file's name does not end like an image's.";
        "Send jpg, jpeg, png or gif.";
    "ERROR_IMAGE_TYPE_NOT_SUPPORTED" Permanent Permanent none:
        "Upstream cannot tell what kind of image this is.";
        "Send jpg, png or gif, and check that the file is whole.";
    "ERROR_UPLOAD" Permanent Permanent none:
        "Upstream could not read the file: often broken base64.";
        "Send the base64 without line breaks and without a `data:` prefix.";
    "ERROR_EMPTY_CAPTCHA" Permanent Permanent none:
        "The task came without a captcha.";
        "Give the image (`body`) or the parameters of the method.";
    "ERROR_CAPTCHAIMAGE_BLOCKED" Permanent Permanent none:
        "Upstream refuses this image: it was marked as impossible to solve.";
        "Fetch a new image.";
    "ERROR_DOMAIN_NOT_ALLOWED" Permanent Permanent none:
        "Upstream does not work for this page's host.";
        "Nothing can be done about this host.";
    "ERROR_PROXY_FORMAT" Permanent Permanent none:
        "The proxy is not written as upstream reads it.";
        "Write `user:password@host:port` or `host:port`, and `proxytype`.";
    "HTTP_413" Permanent Permanent none:
        "The request is larger than upstream takes, said by HTTP status 413.";
        "Send a smaller image.";
    "REQUEST_TOO_LARGE" Permanent Permanent none:
        "The request is larger than 16 MiB and was not sent.";
        "Send a smaller image.";

    // The proxy.
    "ERROR_BAD_PROXY" Proxy Proxy none:
        "Upstream could not use the proxy and has marked it as bad.";
        "Give another proxy; upstream refuses this one for a while.";
    "ERROR_PROXY_CONNECTION_FAILED" Proxy NotReady none:
        "Upstream could not reach the page through the proxy.";
        "Check that the proxy is up and open to upstream's addresses; or list several.";

    // Upstream's own trouble.
    "ERROR_SERVER_ERROR" Transient Transient 10000:
        "Upstream has trouble of its own.";
        "Nothing; if it lasts, look at upstream's status page.";
    "ERROR_INTERNAL_SERVER_ERROR" Transient Transient 10000:
        "Upstream has trouble of its own.";
        "Nothing; if it lasts, look at upstream's status page.";

    // No verdict yet.
    "CAPCHA_NOT_READY" Transient NotReady none:
        "Upstream is still working on it.";
        "Nothing.";
    "CAPTCHA_NOT_READY" Transient NotReady none:
        "Upstream is still working on it.";
        "Nothing.";

    // The job.
    "ERROR_CAPTCHA_UNSOLVABLE" Unsolvable Unsolvable none:
        "Upstream tried and could not solve it.";
        "If one site key always fails, its captcha may have changed; look at `stats`.";
    "ERROR_BAD_DUPLICATES" Unsolvable Unsolvable none:
        "Several workers gave different answers.";
        "If it is frequent, the images may be unreadable.";
    "ERROR_WRONG_CAPTCHA_ID" Permanent Lost none:
        "Upstream does not know the task's id (any more).";
        "Nothing; upstream forgets ids after a while, or after it has answered.";
    "ERROR_NO_SUCH_CAPCHA_ID" Permanent Lost none:
        "Upstream does not know the task's id (any more).";
        "Nothing; upstream forgets ids after a while, or after it has answered.";
    "ERROR_TOKEN_EXPIRED" Stale Stale none:
        "A parameter of the request was single-use or too old (such as geetest's `challenge`).";
        "Read fresh parameters from the page and submit a new task.";
    "ERROR_WRONG_ID_FORMAT" Unknown Unknown none:
        "Upstream found the id malformed: a defect of deadletter.";
        "Please report it, with the output of `show`.";
    "ERROR_EMPTY_ACTION" Unknown Unknown none:
        "Upstream missed the action: a defect of deadletter, or a wrong result endpoint.";
        "Check the endpoints in the configuration; else please report it.";

    // What only the createTask family says.
    "ERROR_TASK_NOT_SUPPORTED" Permanent Permanent none:
        "Upstream has no such type of task, or deadletter knows no type for this method.";
        "Compare the method with what upstream offers.";
    "ERROR_TASK_ABSENT" Permanent Permanent none:
        "The request has no task, or a task without a type.";
        "Give `task` as an object, with its `type`.";
    "ERROR_NO_SUCH_METHOD" Unknown Unknown none:
        "Upstream does not know what is asked of it: a wrong endpoint, or a defect of deadletter.";
        "Check account.endpoint; else please report it.";
    "ERROR_INVALID_TASK_DATA" Permanent Permanent none:
        "A field that this type of task requires is missing or wrong.";
        "Compare the task's parameters with upstream's documentation of its type.";
    "ERROR_RECAPTCHA_INVALID_SITEKEY" Permanent Permanent none:
        "The site key is not one that the captcha's maker knows.";
        "Read the site key from the page again; it may have changed.";
    "ERROR_RECAPTCHA_INVALID_DOMAIN" Permanent Permanent none:
        "The site key does not belong to this page.";
        "Check the pair: the page may show the captcha in a frame with another address.";
    "ERROR_RECAPTCHA_TIMEOUT" Unsolvable Unsolvable none:
        "Upstream's worker did not solve it in time.";
        "If it is frequent, look at the proxy's speed.";
    "ERROR_MAXIMUM_TIME_EXCEEDED" Unsolvable Unsolvable none:
        "Upstream did not solve it in its own time.";
        "If one site key always fails, its captcha may have changed; look at `stats`.";
    "ERROR_KEY_DENIED_ACCESS" Account Account none:
        "The account's key may not be used for this.";
        "Look at the key's rights in upstream's dashboard.";
    "ERROR_IP_BLOCKED" Account Account 300000:
        "Upstream has blocked this address, usually for many wrong keys.";
        "Look for a program with a wrong key behind the same address; accepted tasks stay valid.";
    "ERROR_RATE_LIMIT" Capacity Capacity 5000:
        "Too many requests in a short time.";
        "Nothing; if it lasts, look for other programs that use the same key.";
    "ERROR_SERVICE_UNAVALIABLE" Transient Transient 10000:
        "Upstream has trouble of its own (it spells the word like that).";
        "Nothing; if it lasts, look at upstream's status page.";
    "ERROR_TASKID_INVALID" Permanent Lost none:
        "Upstream does not know the task's id (any more).";
        "Nothing; upstream forgets ids after a while, or after it has answered.";
    "ERROR_TASK_TIMEOUT" Unsolvable Unsolvable none:
        "Upstream did not solve it in its own time.";
        "If one site key always fails, its captcha may have changed; look at `stats`.";
    "ERROR_PROXY_CONNECT_REFUSED" Proxy Proxy none:
        "The proxy refused upstream's connection.";
        "Check that the proxy is up and open to upstream's addresses; or list several.";
    "ERROR_PROXY_CONNECT_TIMEOUT" Proxy Proxy none:
        "The proxy did not answer upstream in time.";
        "Check that the proxy is up and open to upstream's addresses; or list several.";
    "ERROR_PROXY_READ_TIMEOUT" Proxy Proxy none:
        "The proxy did not deliver the page in time.";
        "Give a faster proxy.";
    "ERROR_PROXY_BANNED" Proxy Proxy none:
        "The captcha's maker has banned the proxy's address.";
        "Give another proxy.";
    "ERROR_PROXY_NOT_AUTHORISED" Proxy Proxy none:
        "The proxy did not accept its user name and password.";
        "Check the proxy's credentials.";

    // Our own words.
    "NETWORK" Transient Transient none:
        "The line could not be opened, broke, or stayed silent.";
        "If it lasts, check name resolution, firewall and upstream's status page.";
    "UNREADABLE" Transient Transient 5000:
        "An answer came that nobody can read: an HTML page, a 5xx status, or garbage.";
        "If it lasts, check the endpoints, and whether a proxy or login page stands between.";
    "TIMEOUT" Transient Transient none:
        "Upstream still said \"not ready\" when the attempt's time was over.";
        "If one method or site key always times out, raise its time-out or look at its parameters.";
    "DEADLINE" Transient Transient none:
        "The caller's patience ended before there was an answer.";
        "Redrive it if the answer is still wanted; give a longer deadline.";
    "PANIC" Transient Transient none:
        "A step of this task failed inside deadletter: a defect.";
        "Please report it, with the output of `show`.";
    "WORKER_DIED" Transient Transient none:
        "The process ended while this task was being submitted; nobody knows whether it arrived.";
        "Nothing; if it repeats, look for what ends the process (memory, deployment).";
    "REQUEST_MISSING" Permanent Permanent none:
        "The store is damaged: it has lost what this task asked for.";
        "Look at the store with `deadletter store check`. `show` says which row or key it was: purge the task, then send that row again (`run FILE --resume`), or the job under that key.";
    "ATTEMPT_MISSING" Unknown Unknown none:
        "The store is damaged: it has lost what stood of the attempt that this task waited for.";
        "Look at the store with `deadletter store check`, then redrive it; it may be paid for twice.";
    "ID_NOT_UNIQUE" Transient Transient none:
        "Upstream gave this job the id of another one that it had not answered yet.";
        "Nothing; if it repeats, upstream mixes jobs up: tell its support.";
}
