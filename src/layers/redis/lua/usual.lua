-- Takes all that a call demands, or none of it; call after call, each as if it were alone.
--
-- ARGV: for each call its demands, which are a cost, and before it the policy where that is another than before; and before
-- them how many they are, as "*3", unless it is one. KEYS: one for each demand. The answer, in one list: the time; then for
-- each call that was granted what each of its demands owes, which is more than 0, and when it was taken; for each that was
-- not 0, the wait, the demand that has to wait so long, and for each demand what remains and until it is all back.
--
-- Here is what most calls need, as far as it goes: one demand of a policy whose state is its own, if it has one, with a
-- clock that goes on. Of a state that is there and kept for long enough only what is new is written: that takes half as
-- long. `take.lua` goes on with the first call that needs more.

local answer, said, taken, at, last = { now }, 1, 0, 1, #ARGV
local id, algorithm, limit, window, capacity

while at <= last do
  local word, after = ARGV[at], at + 1
  if #word == POLICY_BYTES then
    id, algorithm, limit = word, tonumber(sub(word, 1, 1)), tonumber(sub(word, 2, 11))
    window, capacity = tonumber(sub(word, 12, 22)), tonumber(sub(word, 23, 32))
    word, after = ARGV[after], after + 1
  end
  local cost = tonumber(word)
  if not cost or cost > capacity then break end
  local key, since, owed = KEYS[taken + 1], now, nil
  local wait, remaining, reset
  if algorithm == FIXED then
    local state = call('GET', key)
    local count = 0
    since = now - now % window
    if state then
      if sub(state, 1, POLICY_BYTES) ~= id then break end
      local start, held = unpack(WINDOW, state, BODY)
      if start > since then break end
      if start == since then count = held end
    end
    owed = count + cost
    if owed > capacity then
      wait, remaining = since + window - now, count < capacity and capacity - count or 0
      reset = wait
    elseif count > 0 then
      call('SETRANGE', key, COUNT_OFFSET, pack('<d', owed))
    else
      call('SET', key, id .. pack(WINDOW, since, owed), 'PX', 2 * window)
    end
  elseif algorithm ~= LOG then
    local state = call('GET', key)
    local ceil, debt, keptUntil, most = math.ceil, 0, 0, capacity * window
    if state then
      if sub(state, 1, POLICY_BYTES) ~= id then break end
      local before
      before, debt, keptUntil = unpack(BUCKET, state, BODY)
      if before > now then break end
      debt = debt - (now - before) * limit
      if debt < 0 then debt = 0 end
    end
    owed = debt + cost * window
    if owed > most then
      wait, reset = ceil((owed - most) / limit), ceil(debt / limit)
      remaining = debt < most and floor((most - debt) / window) or 0
    elseif now + ceil(owed / limit) <= keptUntil then
      call('SETRANGE', key, BODY_OFFSET, pack('<dd', now, owed))
    else
      local lifetime = math.max(window, 2 * ceil(most / limit))
      call('SET', key, id .. pack(BUCKET, now, owed, now + lifetime), 'PX', lifetime)
    end
  else
    local state = call('GETRANGE', key, '0', LAST_OF_FIRST)
    local bytes = #state
    if bytes == 0 then
      owed = cost
      call('SET', key, id .. pack(HEADER, 0, 0, 0, now + 2 * window) .. pack(ENTRY, now, cost), 'PX', 2 * window)
    else
      if bytes >= FIRST_BYTES or sub(state, 1, POLICY_BYTES) ~= id then break end
      local shift, first, base, keptUntil = unpack(HEADER, state, BODY)
      local newest, sum = unpack(ENTRY, state, bytes - ENTRY_BYTES + 1)
      local stored, count = now - shift, (bytes - HEADER_BYTES) / ENTRY_BYTES
      if newest > stored then break end
      local low, high = first, count
      while low < high do
        local middle = floor((low + high) / 2)
        if unpack(ENTRY, state, HEADER_BYTES + middle * ENTRY_BYTES + 1) > stored - window then
          high = middle
        else
          low = middle + 1
        end
      end
      if low > first then
        local _, before = unpack(ENTRY, state, HEADER_BYTES + low * ENTRY_BYTES - ENTRY_BYTES + 1)
        base = before
      end
      owed = (sum - base) % WRAP + cost
      if owed > capacity then break end
      local added = pack(ENTRY, stored, (sum + cost) % WRAP)
      local kept = newest == stored and bytes - ENTRY_BYTES or bytes
      if low * 2 > count or keptUntil < now + window then
        local entries = sub(state, HEADER_BYTES + low * ENTRY_BYTES + 1, kept) .. added
        call('SET', key, id .. pack(HEADER, shift, 0, base, now + 2 * window) .. entries, 'PX', 2 * window)
      elseif kept == bytes then
        call('APPEND', key, added)
      else
        call('SETRANGE', key, kept, added)
      end
    end
  end
  if wait then
    answer[said + 1], answer[said + 2], answer[said + 3], answer[said + 4], answer[said + 5] =
      0, wait, 0, remaining, reset
    said = said + 5
  else
    answer[said + 1], answer[said + 2] = owed, since
    said = said + 2
  end
  at, taken = after, taken + 1
end
