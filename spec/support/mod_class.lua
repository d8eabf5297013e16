-- mod_class.lua - a class that is a module.
-- SPDX-License-Identifier: MIT

local Account = {}
Account.__index = Account

function Account.new(balance)
  return setmetatable({ balance = balance }, Account)
end

function Account:deposit(n)
  self.balance = self.balance + n
  return self
end

return Account
