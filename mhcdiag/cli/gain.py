def gain() -> None:
    """x"""
