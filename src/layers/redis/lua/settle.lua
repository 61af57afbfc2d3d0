-- Corrects earlier charges, one after the other.
--
-- ARGV: for each key its policy, the actual cost less the one that was charged, when that was, and what was owed then.

-- What is left of a bucket's charge: debts are repaid in the order they were made. Nothing when the clock has been set
-- to before the charge, because how much was repaid is then unknown.
local function outstanding(chargedAt, owed, limit, at)
  return at < chargedAt and 0 or max(0, owed - (at - chargedAt) * limit)
end

local function settle(policy, key, difference, chargedAt, owed)
  local state = read(policy, key)
  if difference == 0 or (difference < 0 and not state) then return end
  if state and isOfAnother(policy, state) then
    if difference < 0 then return end
    policy = policyOf(sub(state, 1, POLICY_BYTES))
  end
  local window, capacity = policy.window, policy.capacity

  if policy.algorithm == FIXED then
    local start, count = now - now % window, 0
    if difference < 0 then
      start, count = unpack(WINDOW, state, BODY)
      if start ~= chargedAt then return end
      count = max(0, count + difference)
    else
      start, count = windowNow(policy, state)
      count = max(count, min(count + difference, 2 * capacity))
    end
    return write(key, policy, windowOf(policy, start, count))
  elseif policy.algorithm == LOG then
    if not state then return write(key, policy, select(3, occupied(policy, min(difference, 2 * capacity)))) end
    local log = openLog(key, state, window)
    if difference < 0 then return log:giveBack(policy, chargedAt, -difference) end
    local most = 2 * capacity - log.total
    if most <= 0 then return log:keep(policy) end
    return log:append(policy, min(difference, most))
  end

  local at, debt = bucketNow(policy, state)
  if difference < 0 then
    debt = debt - min(-difference * window, outstanding(chargedAt, owed, policy.limit, at), debt)
  else
    debt = min(debt + difference * window, max(debt, 2 * capacity * window))
  end
  write(key, policy, bucketOf(policy, at, debt))
end

for index, key in ipairs(KEYS) do
  local at = 4 * index - 3
  settle(policyOf(ARGV[at]), key, tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]))
end
return 0
