-- The cores of src/resilience/ratelimit once more, with their states in Redis. What is decided, and why, is said there;
-- here is only what is Redis' own. Every number is a whole one below 2^53, which a Lua number holds exactly.
--
-- Redis runs a script from its first line to its last each time, and to make a function costs more than to run it: what
-- most calls need is written without any.

local call, pack, unpack, sub, floor = redis.call, struct.pack, struct.unpack, string.sub, math.floor
local KEYS, ARGV = KEYS, ARGV

local time = call('TIME')
local now = time[1] * 1000 + floor(time[2] / 1000)

-- The algorithms, as they are numbered in states and arguments. 3 is the token bucket and 4 the leaky bucket: the same
-- but for the name (law 2).
local FIXED, LOG = 1, 2

-- A policy is told in 32 characters: a digit for the algorithm; then the limit, the window and the capacity, in 10, 11 and
-- 10 digits. A state begins with them. After them, of a window: its start, and what it holds. Of a bucket: the time it was
-- last changed, and its debt then, in 1/window of a token; then the time that its key is kept until.
local POLICY_BYTES, BODY, BODY_OFFSET, COUNT_OFFSET = 32, 33, '32', '40'
local WINDOW, BUCKET = '<dd', '<ddd'

-- The exact log, as it is kept in a key: after its policy a header, and an entry for each millisecond in which something
-- was taken: its time, and the sum of all that was taken up to it. With sums in place of costs every question is answered
-- by bisection, however long the log is. Sums wrap around at 2^48; what is in a window never comes near that. A log has
-- one entry at least.
--
-- The header: how far all times are shifted, since the clock was set back; how many entries are known to have left the
-- window, and the sum up to them; until when the key is kept. What has left the window is cut off once it is half of the
-- log, so that most changes write an entry and no more.
local HEADER, HEADER_BYTES, ENTRY, ENTRY_BYTES, WRAP = '<dddd', 64, '<I6I6', 12, 2 ^ 48

-- So much of a log is read at first. As a number it would be written out as a text each time.
local FIRST_BYTES, LAST_OF_FIRST = 832, '831'
