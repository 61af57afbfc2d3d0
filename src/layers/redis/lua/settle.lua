-- Corrects earlier charges, one after the other.
--
-- ARGV: the policies; then for each key the number of its policy, the actual cost less the one that was charged, when
-- that was, and what was owed then.

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
    policy = policyOf(unpack(POLICY, state))
    local refill = policy.algorithm > LOG and ceil(policy.capacity * policy.window / policy.limit) or policy.window
    policy.forgetsAfter = string.format('%.0f', max(policy.window, 2 * refill))
  end
  local window, capacity = policy.window, policy.capacity

  if policy.algorithm == FIXED then
    local start, count = now - now % window, 0
    if difference < 0 then
      start, count = unpack(PAIR, state, BODY)
      if start ~= chargedAt then return end
      count = max(0, count + difference)
    else
      if state then start, count = windowNow(policy, state) end
      count = max(count, min(count + difference, 2 * capacity))
    end
    return write(key, policy, policy.id .. pack(PAIR, start, count))
  elseif policy.algorithm == LOG then
    if not state then return write(key, policy, select(4, occupied(policy, min(difference, 2 * capacity)))) end
    local log = openLog(key, state, window)
    if difference < 0 then return log:giveBack(policy, chargedAt, -difference) end
    local most = 2 * capacity - log.total
    if most <= 0 then return log:keep(policy) end
    return log:append(policy, min(difference, most))
  end

  local at, debt = now, 0
  if state then at, debt = bucketNow(policy, state) end
  if difference < 0 then
    debt = debt - min(-difference * window, outstanding(chargedAt, owed, policy.limit, at), debt)
  else
    debt = min(debt + difference * window, max(debt, 2 * capacity * window))
  end
  write(key, policy, policy.id .. pack(PAIR, at, debt), at - now)
end

local policies, at = policiesOfCall()
for _, key in ipairs(KEYS) do
  local policy, difference, chargedAt, owed = policies[ARGV[at]], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  settle(policy, key, tonumber(difference), tonumber(chargedAt), tonumber(owed))
  at = at + 4
end
return 0
