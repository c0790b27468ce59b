"""Guards of the wire: bounds, closing, stale connections, headers, event streams."""

from tests.mutation.mutation import Mutation

__all__ = ("WIRE",)

SSE = "tests/wire/test_sse.py"
CONTRACT = "tests/wire/test_contract.py"
LEAVING = "tests/wire/test_leaving.py"
SOCKETS = "tests/wire/test_sockets.py"
GUARDS = "tests/wire/test_guards.py"
VIRTUAL = "tests/wire/test_virtual.py"

WIRE = (
    # Event streams.
    Mutation(
        "event-without-end",
        "wire/sse.py",
        "if self._size + self._pending > self._limit:",
        "if False:",
        "A line or an event without end stops at a limit.",
        SSE,
    ),
    Mutation(
        "half-an-event-handed-out",
        "wire/sse.py",
        "elif event := self._dispatch():\n                events.append(event)",
        "if event := self._dispatch():\n                events.append(event)",
        "An event counts only with the blank line that ends it.",
        SSE,
    ),
    Mutation(
        "line-end-in-two-pieces-is-two",
        "wire/sse.py",
        'self._returned = data.endswith(b"\\r")',
        "self._returned = False",
        "Events do not depend on how the bytes are cut.",
        GUARDS,
    ),
    # The wire on sockets.
    Mutation(
        "connections-unbounded",
        "wire/sockets.py",
        "await self._places.acquire()",
        "pass",
        "No more connections are open than the settings say.",
        f"{CONTRACT} -k bounded",
    ),
    Mutation(
        "place-lost-with-a-failed-connection",
        "wire/sockets.py",
        "except BaseException:\n            self._places.release()\n",
        "except BaseException:\n",
        "A connection that was not made takes no place.",
        GUARDS,
    ),
    Mutation(
        "dead-connection-used-again",
        "wire/sockets.py",
        "if self._closed or not self._most_idle or not connection.answer.reusable:",
        "if self._closed or not self._most_idle:",
        "A connection left in the middle of an answer is closed.",
        f"{LEAVING} -k leaving_before",
    ),
    Mutation(
        "kept-although-told-not-to",
        "wire/sockets.py",
        "self._most_idle = settings.max_idle if settings.keep_alive else 0",
        "self._most_idle = settings.max_idle",
        "Connections can be used once.",
        f"{CONTRACT} -k used_once",
    ),
    Mutation(
        "stale-connection-not-seen",
        "wire/sockets.py",
        "            self.socket.recv(1)\n        except (BlockingIOError",
        "            raise BlockingIOError\n        except (BlockingIOError",
        "A connection that was closed while idle is replaced unseen.",
        GUARDS,
    ),
    Mutation(
        "cancelled-call-keeps-its-socket",
        "wire/sockets.py",
        "except BaseException:\n            self._leave(connection)\n            raise",
        "except BaseException:\n            raise",
        "A cancelled call closes its connection in the same tick.",
        f"{LEAVING} -k next_call_after",
    ),
    Mutation(
        "stale-connections-tried-one-by-one",
        "wire/sockets.py",
        "if unused:\n                self._wire.distrust(connection.since)",
        "if False:\n                self._wire.distrust(connection.since)",
        "One connection that went stale speaks for all that are older.",
        f"{SOCKETS} -k stale",
    ),
    Mutation(
        "good-connections-dropped-with-a-stale-one",
        "wire/sockets.py",
        "while self._idle and self._idle[0].since <= moment:",
        "while self._idle:",
        "A connection that was used since is good.",
        f"{SOCKETS} -k stale",
    ),
    Mutation(
        "lost-after-its-first-byte-and-unused",
        "wire/sockets.py",
        "return monotonic() - self.since < failures.RACE and not self.answer.begun",
        "return monotonic() - self.since < failures.RACE",
        "A request whose answer had begun was read.",
        SOCKETS,
    ),
    Mutation(
        "lost-on-a-new-socket-and-unused",
        "wire/sockets.py",
        "self.since = -inf",
        "self.since = monotonic()",
        "A request that was lost on a new connection may have been read.",
        CONTRACT,
    ),
    Mutation(
        "lost-late-and-unused",
        "wire/sockets.py",
        "return monotonic() - self.since < failures.RACE and not self.answer.begun",
        "return self.since > -inf and not self.answer.begun",
        "A request that was lost late may have been read.",
        f"{CONTRACT} -k late",
    ),
    Mutation(
        "idle-connections-unbounded",
        "wire/sockets.py",
        "while len(self._idle) > self._most_idle or",
        "while",
        "No more unused connections are kept than the settings say.",
        SOCKETS,
    ),
    Mutation(
        "old-connection-used-again",
        "wire/sockets.py",
        "age <= self._settings.idle_seconds and ",
        "",
        "A connection that was unused for long is not used again.",
        SOCKETS,
    ),
    Mutation(
        "endless-head",
        "wire/http1.py",
        "if self._overhead > MAX_OVERHEAD:",
        "if False:",
        "A head without end stops at a limit.",
        f"{SOCKETS} -k trailers",
    ),
    Mutation(
        "cut-body-is-whole",
        "wire/http1.py",
        "if self.status and self._until_close:",
        "if self.status:",
        "A body that breaks off before its length is lost.",
        CONTRACT,
    ),
    Mutation(
        "header-with-a-line-break",
        "wire/http1.py",
        'VALUE = re.compile(rb"[^\\x00\\r\\n]*")',
        'VALUE = re.compile(rb"[^\\x00]*", re.DOTALL)',
        "A header with a line break is refused unseen.",
        SOCKETS,
    ),
    # What is said of a lost call.
    Mutation(
        "late-loss-is-unused",
        "wire/failures.py",
        "return self._kept and current_time() - self._started < RACE",
        "return self._kept",
        "A request that was lost late may have been read.",
        f"{CONTRACT} {VIRTUAL} -k 'late or reset_soon'",
    ),
    Mutation(
        "loss-on-a-new-connection-is-unused",
        "wire/failures.py",
        "return self._kept and current_time() - self._started < RACE",
        "return current_time() - self._started < RACE",
        "A request that was lost on a new connection may have been read.",
        f"{CONTRACT} {VIRTUAL} -k 'broken_exchange or any_byte'",
    ),
    # httpx2 and the SDKs.
    Mutation(
        "httpx2-follows-redirects",
        "wire/httpx2.py",
        "follow_redirects=False",
        "follow_redirects=True",
        "No redirect is followed: a request is sent once.",
        CONTRACT,
    ),
    Mutation(
        "httpx2-keeps-cookies",
        "wire/httpx2.py",
        "cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),\n",
        "",
        "No cookie is kept.",
        f"{CONTRACT} -k cookie",
    ),
    Mutation(
        "httpx2-leaves-sockets-open",
        "wire/httpx2.py",
        "            async for _ in self._pieces:\n                pass",
        "            pass",
        "Leaving an answer before its end closes the connection.",
        LEAVING,
    ),
    Mutation(
        "sdk-tries-again",
        "wire/sdk.py",
        '"max_retries": 0',
        '"max_retries": 1',
        "An SDK makes no second try of its own.",
        f"{CONTRACT} -k tried_again",
    ),
    Mutation(
        "sdk-follows-redirects",
        "wire/sdk.py",
        '"follow_redirects": False',
        '"follow_redirects": True',
        "An SDK follows no redirect.",
        CONTRACT,
    ),
)
