"""Figures as text."""
from statistics import median


def table(title, rates):
    """`rates`: of each contender, messages a second, round by round; the first is the measure."""
    print(f"\n{title}")
    first = next(iter(rates))
    print(f"  {'':<28}{'messages/s':>12}   {first} is so many times as fast (min to max)")
    for name, values in rates.items():
        ratios = [a / b for a, b in zip(rates[first], values)]
        print(f"  {name:<28}{median(values):>12,.0f}   {median(ratios):5.2f}"
              f"  ({min(ratios):.2f} to {max(ratios):.2f})", flush=True)


def line(name, value):
    print(f"  {name:<28}{value}", flush=True)
