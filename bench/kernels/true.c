/* Nothing: what is measured is starting and ending. */
int main(void)
{
    return 0;
}
